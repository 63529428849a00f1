"""Posts that a fleet publishes per second when 2,000 of 40 bots are due; and how late they are at 50 a second: p95 5 s.

Real workers and beat, PostgreSQL and Redis with the durability of an installation, and the sandbox for a platform.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from kilroy_site.config import BASE_DIR
from tests.bench.measurement import Measurement

POSTS, BOTS, GOAL = int(os.environ.get("BENCH_PUBLISHING_POSTS", "2000")), 40, 200.0
RATE, SECONDS, LATEST = 50, 30, 5.0
PROCESSES = int(os.environ.get("BENCH_PUBLISHING_PROCESSES", "4"))
"""Of one worker; `up` starts it with as many as are the default here."""


def run() -> Measurement:
    """Throughput, and whether p95 of lateness stays within its bound at the offered rate."""
    with tempfile.TemporaryDirectory(prefix="kilroy-bench-") as folder:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "REDIS_"))}
        own = {"KILROY_VAR": folder, "KILROY_LOG_LEVEL": "WARNING", "DJANGO_SETTINGS_MODULE": "kilroy_site.settings"}
        command = [sys.executable, "-m", "tests.bench.bench_publishing"]
        done = subprocess.run(command, cwd=BASE_DIR, env=kept | own, stdout=subprocess.PIPE, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(report), file=sys.stderr)
    broken = [] if report["p95"] <= LATEST else [f"p95 of lateness at {RATE} posts/s is {report['p95']:.1f} s"]
    return Measurement(ours=report["per_second"], goal=GOAL, better="higher", broken=tuple(broken))


def main() -> None:
    """Within a process of its own: start everything, measure both, print one JSON object."""
    from tests.chaos.fleet import Fleet, Servers

    folder = Path(os.environ["KILROY_VAR"])
    servers = Servers(folder)
    servers.start()
    try:
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        fleet = Fleet(folder, os.environ, 0, workers=1, processes=PROCESSES)
        fleet.start()
        try:
            print(json.dumps(_throughput() | _lateness()))
        finally:
            fleet.stop()
    finally:
        servers.stop()


def _throughput() -> dict[str, Any]:
    from accounts import clock

    bots, organization = _bots("Throughput")
    _await_first(bots[0], organization)
    moment = clock.now()
    _approve(bots, organization, [moment + timedelta(microseconds=n // BOTS) for n in range(POSTS)])
    due = clock.now()
    seconds = (_await_all(bots, POSTS + 1) - due).total_seconds()
    return {"per_second": POSTS / seconds, "seconds": seconds}


def _lateness() -> dict[str, Any]:
    from accounts import clock
    from tests.chaos.report import p95

    bots, organization = _bots("Lateness")
    start = clock.now() + timedelta(seconds=10)
    _approve(bots, organization, [start + timedelta(seconds=n / RATE) for n in range(RATE * SECONDS)])
    _await_all(bots, RATE * SECONDS)
    late = [(at - slot).total_seconds() for at, slot in _rows(bots).values_list("published_at", "slot_utc")]
    return {"p95": p95(late), "latest": max(late)}


def _bots(name: str) -> Any:
    from accounts.tenancy import tenant
    from tests.factories import make_bot, make_organization

    organization = make_organization(name)
    with tenant(organization.pk):
        return [make_bot() for _ in range(BOTS)], organization


def _approve(bots: list[Any], organization: Any, slots: list[Any]) -> None:
    """Scheduled posts at these slots, taking turns among the bots."""
    from accounts import clock
    from accounts.tenancy import tenant
    from bots.models import Post
    from bots.services.posts import payload_sha256
    from faces.contract import OutgoingPost
    from faces.keys import new_key

    posts = []
    with tenant(organization.pk):
        for number, slot in enumerate(slots):
            bot, text = bots[number % len(bots)], f"A post about the number {number}"
            sha256 = payload_sha256(OutgoingPost(text))
            signed = {"approved_sha256": sha256, "approved_by": "bench", "approved_at": clock.now()}
            posts.append(
                Post(
                    bot=bot,
                    connection=bot.connection,
                    state="scheduled",
                    slot_utc=slot,
                    text=text,
                    payload_sha256=sha256,
                    platform_key=new_key(),
                    **signed,
                )
            )
        Post.objects.bulk_create(posts)


def _rows(bots: list[Any]) -> Any:
    from bots.models import Post

    # everyone: a benchmark looks from outside of any tenant.
    return Post.everyone.filter(bot__in=bots)


def _await_first(bot: Any, organization: Any) -> None:
    """Publish one post: from then on the fleet is up."""
    from accounts import clock

    _approve([bot], organization, [clock.now() - timedelta(seconds=1)])
    _await_all([bot], 1)


def _await_all(bots: list[Any], count: int, limit: float = 300.0) -> Any:
    """When the last of so many was published. Raises TimeoutError."""
    from django.db.models import Max

    deadline = time.monotonic() + limit
    while (done := _rows(bots).filter(state="published")).count() < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{done.count()} of {count} posts were published within {limit:.0f} s")
        time.sleep(0.5)
    return _rows(bots).aggregate(last=Max("published_at"))["last"]


if __name__ == "__main__":
    main()
