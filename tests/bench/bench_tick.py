"""Beat's tick at 1,000,000 scheduled posts of 100,000 bots over the same at 10,000: a ratio of at most 1.5.

The same number of posts is due each time, so what grows is only what exists. Each part of the tick (queueing what is
due, giving out slots, recovering, reading scores) must also plan without reading the whole table of posts.
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

SIZES = tuple(int(size) for size in os.environ.get("BENCH_TICK_POSTS", "10000,100000,1000000").split(","))
POSTS_PER_BOT, DUE, TICKS = 10, 100, 9
GOAL = 1.5


def run() -> Measurement:
    """Median seconds of a tick at the largest size against the smallest."""
    report = report_of("tests.bench.bench_tick")
    smallest, largest = (report["ticks"][str(size)]["seconds"] for size in (SIZES[0], SIZES[-1]))
    broken = [
        f"at {size}: {scan} reads all posts" for size in report["ticks"] for scan in report["ticks"][size]["scans"]
    ]
    return Measurement(ours=largest, goal=GOAL, better="lower", peer=smallest, broken=tuple(broken))


def measure(folder: Path) -> dict[str, Any]:
    """Size → median seconds of a tick, of each part, and the queries that scan the table."""
    from django.db import connection

    from accounts.row_security import as_owner

    ticks, exist = {}, 0
    for size in SIZES:
        _grow(exist, size)
        exist = size
        with as_owner(), connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        ticks[str(size)] = _ticks()
        print(json.dumps({size: ticks[str(size)]}))
    return {"ticks": ticks}


def _ticks() -> dict[str, Any]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    parts = _parts()
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(TICKS):
        _make_due()
        for name, part in parts.items():
            started = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - started)
    scans = set()
    _make_due()
    for name, part in parts.items():
        with CaptureQueriesContext(connection) as captured:
            part()
        scans |= {f"{name}: {sql}" for sql in _scanning(captured.captured_queries)}
    medians = {name: round(statistics.median(found), 5) for name, found in seconds.items()}
    return {"seconds": sum(medians.values()), "parts": medians, "scans": sorted(scans)}


def _parts() -> dict[str, Any]:
    from bots.services import recovery, scheduling, scores

    return {
        "queue_due": scheduling.queue_due,
        "fill_slots": scheduling.fill_all_slots,
        "recover": recovery.recover_posts,
        "read_scores": scores.read_due_scores,
    }


def _scanning(queries: list[dict[str, str]]) -> list[str]:
    """The SELECTs whose plan reads the whole table of posts."""
    from django.db import connection

    found = []
    for query in queries:
        sql = query["sql"]
        if not sql.startswith("SELECT") or "bots_post" not in sql:
            continue
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN " + sql.replace("%", "%%"))
            plan = "\n".join(row[0] for row in cursor.fetchall())
        if "Seq Scan on bots_post " in plan:
            found.append(sql[:160])
    return found


def _make_due() -> None:
    """Take the slots of `DUE` posts, each of another bot, into the present; what was queued before is gone."""
    from django.db import connection

    from accounts.row_security import as_owner

    with as_owner(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM bots_post WHERE state = 'queued'")
        cursor.execute(
            "UPDATE bots_post SET slot_utc = now() - interval '1 second' WHERE id IN "
            "(SELECT DISTINCT ON (bot_id) id FROM bots_post WHERE bot_id IN "
            "(SELECT id FROM bots_bot WHERE name <> 'Pattern' ORDER BY id LIMIT %s OFFSET %s) AND state = 'scheduled')",
            [DUE, _offset()],
        )


_taken = 0


def _offset() -> int:
    global _taken
    _taken += DUE
    return (_taken - DUE) % (SIZES[0] // POSTS_PER_BOT)


def _grow(exist: int, size: int) -> None:
    """More bots and posts, all rows like one that the services made."""
    from django.db import connection

    from accounts.row_security import as_owner
    from accounts.tenancy import tenant
    from bots.models import Bot, Post, Schedule
    from tests.factories import make_bot, make_post, make_schedule, make_world

    if not exist:
        with tenant(make_world().acme.pk):
            bot = make_bot(name="Pattern")
            make_schedule(bot, kind="interval", interval_seconds=3600)
            make_post(bot, "scheduled")
    bots = range(exist // POSTS_PER_BOT, size // POSTS_PER_BOT)
    pattern = Bot.everyone.get(name="Pattern")
    post = Post.everyone.filter(bot=pattern).first()
    schedule = Schedule.everyone.get(bot=pattern)
    assert post is not None
    with as_owner(), connection.cursor() as cursor:
        for table, old, changes in (
            ("bots_bot", pattern.pk, "'id', md5('b' || n)::uuid, 'name', 'Bot ' || n"),
            (
                "bots_schedule",
                schedule.pk,
                "'id', md5('s' || n)::uuid, 'bot_id', md5('b' || n)::uuid",
            ),
        ):
            cursor.execute(_copies(table, changes), [bots.start, bots.stop - 1, old])
        cursor.execute(
            _copies(
                "bots_post",
                "'id', md5('p' || n)::uuid, 'platform_key', md5('k' || n), "
                f"'bot_id', md5('b' || n / {POSTS_PER_BOT})::uuid, "
                "'slot_utc', now() + interval '1 day' + n * interval '1 microsecond'",
            ),
            [exist, size - 1, post.pk],
        )


def _copies(table: str, changes: str) -> str:
    return (
        f"INSERT INTO {table} SELECT (jsonb_populate_record(row, jsonb_build_object({changes}))).* "
        f"FROM {table} row, generate_series(%s::int, %s::int) n WHERE row.id = %s"
    )


if __name__ == "__main__":
    main(measure)
