"""Server time of every page with 1,000,000 posts in the database: p95 at most 100 ms, at most 15 queries.

All posts are one organization's, most of them of the one bot whose pages are looked at: published with a reading and a
reward, declined, waiting. Measured inside one process, which begins as the web process does, without HTTP; the slowest
page counts. The slowest pages are listed; those whose p95 is too long, or that take too many queries, are named. With
1,000,000 posts about two minutes go into making the posts, and one or two into the pages.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg

from kilroy_site.embedded.postgres import SUPERUSER, database_url
from tests.bench.database import main, report_of
from tests.bench.measurement import Measurement

POSTS = int(os.environ.get("BENCH_PAGES_POSTS", "1000000"))
REQUESTS, SECONDS = 30, 6.0
"""A page is asked for so often, or for so long."""
LISTED = 12
GOAL = 0.1
MOST_QUERIES = 15


def run() -> Measurement:
    """p95 seconds of the slowest page."""
    pages = report_of("tests.bench.bench_pages")
    slowest = sorted(pages, key=lambda name: -pages[name]["p95"])
    for name in slowest[:LISTED]:
        print(f"pages: {_words(pages[name])}, {pages[name]['queries']} queries: {name}", file=sys.stderr)
    slow = [f"{name}: {_words(pages[name])}" for name in slowest if pages[name]["p95"] > GOAL]
    many = [f"{name}: {page['queries']} queries" for name, page in pages.items() if page["queries"] > MOST_QUERIES]
    return Measurement(
        ours=max(page["p95"] for page in pages.values()), goal=GOAL, better="lower", broken=(*slow, *many)
    )


def _words(page: dict[str, Any]) -> str:
    return f"{page['p95'] * 1000:.0f} ms (median {page['p50'] * 1000:.0f} ms)"


def measure(folder: Path) -> dict[str, Any]:
    """For each page and fragment: p50 and p95 in seconds, number of queries, bytes."""
    importlib.import_module("kilroy_site.asgi")
    from tests.browser.gallery import make_gallery
    from tests.browser.serving import signed_in

    gallery = make_gallery()
    started = time.perf_counter()
    _grow(gallery, folder)
    print(f"pages: {POSTS:,} posts made in {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    client = signed_in(gallery.owner)
    client.defaults["HTTP_HOST"] = "localhost"
    logging.disable(logging.WARNING)  # of addresses that are only posted to
    found = {}
    for name, address in _pages(gallery):
        if page := _times(client, address):
            found[name] = page
    return found


def _pages(gallery: Any) -> list[tuple[str, str]]:
    from tests.routes import PAGES, ids_of

    return [(route.pattern, route.url(gallery.full.slug, ids_of(gallery.made, route))) for route in PAGES]


def _times(client: Any, address: str) -> dict[str, Any] | None:
    """None for what is no page: an address to post to, a file that is streamed."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.get(address)
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(address)
    queries = len(captured)  # before later requests empty the log
    if answer.status_code != 200 or answer.streaming:
        return None
    seconds: list[float] = []
    while len(seconds) < REQUESTS and (len(seconds) < 2 or sum(seconds) < SECONDS):
        started = time.perf_counter()
        client.get(address)
        seconds.append(time.perf_counter() - started)
    seconds.sort()
    return {
        "p50": round(statistics.median(seconds), 5),
        "p95": round(seconds[math.ceil(len(seconds) * 0.95) - 1], 5),
        "queries": queries,
        "bytes": len(answer.content),
    }


PUBLISHED = "n % 100 < 69"
SHARES = {"published": PUBLISHED, "declined": "n % 100 BETWEEN 69 AND 98", "pending_review": "n % 100 = 99"}
MOMENT = "now() - n * interval '1 minute'"


def _grow(gallery: Any, folder: Path) -> None:
    """Fill up to POSTS. Post number n is a minute older than n − 1. As the superuser, without the checks of foreign
    keys, which would take longer than all else.
    """
    bot = gallery.made.bot
    names = {"bot": bot.pk, "posts": POSTS}
    key = {"id": "md5('p' || n)::uuid", "platform_key": "md5('k' || n)", "created_at": MOMENT, "updated_at": MOMENT}
    remote = {"remote_id": "'r' || n", "remote_url": "'https://social.example/' || n"}
    of_post = {"id": "1000000 + n", "post_id": "md5('p' || n)::uuid"}
    with psycopg.connect(database_url(folder, role=SUPERUSER), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")

        def copy(table: str, pattern: str, share: str, changes: dict[str, str]) -> None:
            of_table = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
            columns = [name for (name,) in connection.execute(of_table, [table])]
            connection.execute(_copies(table, columns, pattern, share, changes), names)

        for state, share in SHARES.items():
            sent = remote | {"published_at": MOMENT, "slot_utc": MOMENT} if state == "published" else {}
            copy("bots_post", f"state = '{state}' AND bot_id = %(bot)s", share, key | sent)
        of_bot = "post_id IN (SELECT id FROM bots_post WHERE bot_id = %(bot)s)"
        copy("bots_scoreobservation", of_bot, PUBLISHED, of_post | {"observed_at": MOMENT})
        copy("bots_reward", of_bot, PUBLISHED, of_post | {"observation_id": "1000000 + n", "value": "sin(n)"})
        line = {"id": "1000000 + n", "at": "now() - n * interval '1 second'"}
        copy("accounts_auditentry", "action = 'organization.create'", "n % 4 = 0", line)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")  # now, and not while pages are measured


def _copies(table: str, columns: list[str], pattern: str, share: str, changes: dict[str, str]) -> LiteralString:
    """Copies of the first row that is like `pattern`, one for each n of a share of all posts."""
    values = ", ".join(changes.get(column, f"row.{column}") for column in columns)
    return cast(
        LiteralString,
        f"INSERT INTO {table} SELECT {values} FROM (SELECT * FROM {table} WHERE {pattern} LIMIT 1) row, "
        f"generate_series(1, %(posts)s::int) n WHERE {share.replace('%', '%%')}",
    )


if __name__ == "__main__":
    main(measure)
