"""Lists over the API at 1,000,000 posts of 1,000 organizations over the same at 1,000 posts: p95 at most 3 times.

The organization that asks has a tenth of all posts, so that an order without an index shows. Each list must take the
same number of queries at both sizes. Measured inside one process, without HTTP; the slowest list counts.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from tests.bench.database import main, report_of
from tests.bench.measurement import Measurement

SMALL, LARGE = (int(size) for size in os.environ.get("BENCH_LISTS_POSTS", "1000,1000000").split(","))
ORGANIZATIONS, SHARE, BOTS = 1000, 0.1, 10
REQUESTS = 40
GOAL = 3.0
FLOOR = 0.002
"""Seconds that are added to both: below that the ratio would measure the process and not the database."""


def run() -> Measurement:
    """p95 seconds of the list that suffers most, at the large size against the small one."""
    report = report_of("tests.bench.bench_lists")
    small, large = report["small"], report["large"]
    broken = [f"{name}: {large[name]['queries']} queries" for name in small if _queries_grow(small[name], large[name])]
    worst = max(small, key=lambda name: (large[name]["p95"] + FLOOR) / (small[name]["p95"] + FLOOR))
    return Measurement(
        ours=large[worst]["p95"] + FLOOR,
        goal=GOAL,
        better="lower",
        peer=small[worst]["p95"] + FLOOR,
        broken=tuple(broken),
    )


def _queries_grow(small: dict[str, Any], large: dict[str, Any]) -> bool:
    return bool(large["queries"] > small["queries"])


def measure(folder: Path) -> dict[str, Any]:
    """For each size: list → p50 and p95 in seconds, number of queries, rows of the answer."""
    from accounts.row_security import as_owner
    from tests.factories import client_of

    found = {}
    alice = _pattern()
    for name, exist, size in (("small", 0, SMALL), ("large", SMALL, LARGE)):
        with as_owner():
            _grow(exist, size)
        client = client_of(alice)
        client.defaults["HTTP_HOST"] = "localhost"
        found[name] = {address: _times(client, address) for address in _lists()}
        print(json.dumps({name: found[name]}))
    return found


def _lists() -> list[str]:
    """Every list of an organization, and what people ask of posts most."""
    from tests.routes import API

    lists = [
        route.url("acme", {}) for route in API if route.actions.get("get") == "list" and "<pk>" not in route.pattern
    ]
    posts = "/api/v1/organizations/acme/posts/"
    return [*lists, f"{posts}?state=pending_review", f"{posts}?state=published", f"{posts}?arm=human"]


def _times(client: Any, address: str) -> dict[str, Any]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    seconds = []
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(address)
    queries = len(captured)  # before later requests empty the log
    if answer.status_code != 200:
        raise RuntimeError(f"{address}: {answer.status_code} {answer.content[:300]!r}")
    for _ in range(REQUESTS):
        started = time.perf_counter()
        client.get(address)
        seconds.append(time.perf_counter() - started)
    seconds.sort()
    body = answer.json()
    return {
        "p50": round(statistics.median(seconds), 5),
        "p95": round(seconds[int(REQUESTS * 0.95) - 1], 5),
        "queries": queries,
        "rows": len(body.get("results", ()) if isinstance(body, dict) else body),
    }


def _pattern() -> Any:
    """Acme with one row of everything, to be copied. Returns its owner."""
    from accounts.tenancy import tenant
    from tests.everything import make_everything
    from tests.factories import make_world

    world = make_world()
    with tenant(world.acme.pk):
        make_everything()
    return world.alice


def _grow(exist: int, size: int) -> None:
    """Fill up to so many posts, half of them published, each of those with a reading, and an audit line for each post.

    Post number n is Acme's when it is one of the first SMALL or n is a multiple of 10, otherwise one of the others'.
    """
    from django.db import connection

    first, last = (0, 0) if size == SMALL else (1, ORGANIZATIONS - 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM accounts_organization WHERE slug = 'acme'")
        names = {"acme": cursor.fetchone()[0], "first": first, "last": last}
        if first:
            cursor.execute(_copies("accounts_organization", "k", "'id', {org}, 'slug', 'o' || k"), names)
        cursor.execute(_copies("faces_connection", "k", "'id', {connection}, 'name', 'c' || k"), names)
        names |= {"last": (last + 1) * BOTS - 1, "first": first * BOTS}
        cursor.execute(_copies("bots_bot", f"n / {BOTS}", "'id', {bot}, 'name', 'Bot ' || n"), names)
        names |= {"first": exist, "last": size - 1}
        moment = "'created_at', now() - n * interval '1 second'"
        key = "'id', md5('p' || n)::uuid, 'platform_key', md5('k' || n)"
        for state, extra in (("pending_review", ""), ("published", ", 'remote_id', 'r' || n")):
            pattern = f"row.state = '{state}' AND row.continues_id IS NULL"
            half = f"n %% 2 = {int(state == 'published')}"
            cursor.execute(_copies("bots_post", OWNER, f"{key}, {moment}{extra}", pattern, half), names)
        reading = "'id', nextval('bots_scoreobservation_id_seq'), 'post_id', md5('p' || n)::uuid"
        cursor.execute(_copies("bots_scoreobservation", OWNER, reading, where="n %% 2 = 1"), names)
        line = "'id', nextval('accounts_auditentry_id_seq'), 'at', now() - n * interval '1 second'"
        cursor.execute(_copies("accounts_auditentry", OWNER, line, "row.action = 'organization.create'"), names)
        cursor.execute("VACUUM ANALYZE")


OWNER = f"CASE WHEN n < {SMALL} OR n %% {int(1 / SHARE)} = 0 THEN 0 ELSE 1 + n %% {ORGANIZATIONS - 1} END"
IDS = {
    "org": "CASE WHEN k = 0 THEN %(acme)s ELSE md5('o' || k)::uuid END",
    "connection": "md5('c' || k)::uuid",
    "bot": f"md5('b' || k || '-' || n %% {BOTS})::uuid",
}


def _copies(table: str, owner: str, changes: str, pattern: str = "TRUE", where: str = "TRUE") -> str:
    """Copies of one row of Acme's that is like `pattern`, one for each n, of the organization number k."""
    own = "'organization_id', {org}" if table != "accounts_organization" else "'id', {org}"
    own += ", 'connection_id', {connection}" if table in ("bots_bot", "bots_post") else ""
    own += ", 'bot_id', {bot}" if table == "bots_post" else ""
    mine = "row.organization_id = %(acme)s" if table != "accounts_organization" else "row.id = %(acme)s"
    number = "n" if owner == "k" else owner
    return (
        f"INSERT INTO {table} SELECT made.* FROM (SELECT * FROM {table} row WHERE {mine} AND {pattern} LIMIT 1) row, "
        f"generate_series(%(first)s::int, %(last)s::int) n, LATERAL (SELECT {number} AS k) owner, "
        f"LATERAL jsonb_populate_record(NULL::{table}, to_jsonb(row) || jsonb_build_object({own}, {changes})) made "
        f"WHERE {where}"
    ).format(**IDS)


if __name__ == "__main__":
    main(measure)
