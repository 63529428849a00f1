"""Server time of every page with 1,000,000 posts in the database: p95 at most 100 ms, at most 15 queries.

All posts are one organization's, most of them of the one bot whose pages are looked at: published with a reading and a
reward, declined, waiting. Measured inside one process, without HTTP; the slowest page counts. Pages whose p95 is too
long, or that take too many queries, are named.
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from pathlib import Path
from typing import Any

from tests.bench.database import main, report_of
from tests.bench.measurement import Measurement

POSTS = int(os.environ.get("BENCH_PAGES_POSTS", "1000000"))
REQUESTS = 30
GOAL = 0.1
MOST_QUERIES = 15


def run() -> Measurement:
    """p95 seconds of the slowest page."""
    pages = report_of("tests.bench.bench_pages")
    slow = [f"{name}: {page['p95'] * 1000:.0f} ms" for name, page in pages.items() if page["p95"] > GOAL]
    many = [f"{name}: {page['queries']} queries" for name, page in pages.items() if page["queries"] > MOST_QUERIES]
    return Measurement(
        ours=max(page["p95"] for page in pages.values()), goal=GOAL, better="lower", broken=(*slow, *many)
    )


def measure(folder: Path) -> dict[str, Any]:
    """For each page and fragment: p50 and p95 in seconds, number of queries, bytes."""
    from accounts.row_security import as_owner
    from tests.browser.gallery import make_gallery
    from tests.browser.serving import signed_in

    gallery = make_gallery()
    with as_owner():
        _grow(gallery)
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
    seconds = []
    for _ in range(REQUESTS):
        started = time.perf_counter()
        client.get(address)
        seconds.append(time.perf_counter() - started)
    seconds.sort()
    return {
        "p50": round(statistics.median(seconds), 5),
        "p95": round(seconds[int(REQUESTS * 0.95) - 1], 5),
        "queries": queries,
        "bytes": len(answer.content),
    }


PUBLISHED = "n % 100 < 69"
SHARES = {"published": PUBLISHED, "declined": "n % 100 BETWEEN 69 AND 98", "pending_review": "n % 100 = 99"}
MOMENT = "now() - n * interval '1 minute'"


def _grow(gallery: Any) -> None:
    """Fill up to POSTS. Post number n is a minute older than n − 1."""
    from django.db import connection

    bot = gallery.made.bot
    key = {"id": "md5('p' || n)::uuid", "platform_key": "md5('k' || n)", "created_at": MOMENT, "updated_at": MOMENT}
    remote = {"remote_id": "'r' || n", "remote_url": "'https://social.example/' || n"}
    of_post = {"id": "1000000 + n", "post_id": "md5('p' || n)::uuid"}
    with connection.cursor() as cursor:
        for state, share in SHARES.items():
            sent = remote | {"published_at": MOMENT, "slot_utc": MOMENT} if state == "published" else {}
            like = f"state = '{state}' AND bot_id = %(bot)s"
            cursor.execute(_copies("bots_post", like, share, key | sent), _names(bot))
        of_bot = "post_id IN (SELECT id FROM bots_post WHERE bot_id = %(bot)s)"
        reading = of_post | {"observed_at": MOMENT}
        cursor.execute(_copies("bots_scoreobservation", of_bot, PUBLISHED, reading), _names(bot))
        reward = of_post | {"observation_id": "1000000 + n", "value": "sin(n)"}
        cursor.execute(_copies("bots_reward", of_bot, PUBLISHED, reward), _names(bot))
        line = {"id": "1000000 + n", "at": "now() - n * interval '1 second'"}
        cursor.execute(_copies("accounts_auditentry", "action = 'organization.create'", "n % 4 = 0", line), _names(bot))
        cursor.execute("VACUUM ANALYZE")


def _names(bot: Any) -> dict[str, Any]:
    return {"bot": bot.pk, "posts": POSTS}


def _copies(table: str, pattern: str, share: str, changes: dict[str, str]) -> str:
    """Copies of the first row that is like `pattern`, one for each n of a share of all posts."""
    changed = ", ".join(f"'{column}', {value}" for column, value in changes.items())
    return (
        f"INSERT INTO {table} SELECT made.* FROM (SELECT * FROM {table} WHERE {pattern} LIMIT 1) row, "
        f"generate_series(1, %(posts)s::int) n, "
        f"LATERAL jsonb_populate_record(NULL::{table}, to_jsonb(row) || jsonb_build_object({changed})) made "
        f"WHERE {share.replace('%', '%%')}"
    )


if __name__ == "__main__":
    main(measure)
