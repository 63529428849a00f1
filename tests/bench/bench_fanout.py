"""95th percentile of the delay of live events, in seconds, for 500 clients at 20 metrics a second; at most 1.

The delay is from telling to hearing. One web process as `make up` runs it, Redis, and clients in processes of their
own share the machine.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from kilroy_site.config import BASE_DIR
from tests.bench.database import main, report_of
from tests.bench.measurement import Measurement

CLIENTS = int(os.environ.get("BENCH_FANOUT_CLIENTS", "500"))
PROCESSES, PER_SECOND, SECONDS, PATIENCE = 4, 20, 20, 180
NAMES = ("train_loss", "val_loss", "lr", "grad_norm", "tokens_per_second")
GOAL = 1.0


def run() -> Measurement:
    """The delay of 95 % of what all clients heard; every client must hear everything, in order."""
    report = report_of("tests.bench.bench_fanout")
    limits = {
        f"{report['lost']} events were not heard": report["lost"],
        f"{report['caught_up']} times a client had to catch up": report["caught_up"],
        f"{report['out_of_order']} events came out of order": report["out_of_order"],
    }
    broken = tuple(words for words, count in limits.items() if count)
    return Measurement(ours=report["p95"], goal=GOAL, better="lower", broken=broken)


def measure(folder: Path) -> dict[str, Any]:
    """Delays in seconds, what was lost, and what the web process took."""
    from accounts.models import Membership
    from accounts.tenancy import tenant
    from accounts.tokens import create_token
    from tests.factories import make_bot, make_run, make_world

    world = make_world()
    with tenant(world.acme.pk):
        run = make_run(make_bot())
        _, token = create_token(Membership.objects.get(user=world.bob), "Watcher")
        with _web() as (web, port):
            clients = [_clients(port, f"bot:{run.bot_id}", token) for _ in range(PROCESSES)]
            for process in clients:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            before = sum(web.cpu_times()[:2])
            told = _publish(run)
            reports = [json.loads(process.communicate(timeout=PATIENCE)[0]) for process in clients]
            cpu = (sum(web.cpu_times()[:2]) - before) / SECONDS
            memory = web.memory_info().rss / 1e6
    delays: Counter[int] = Counter()
    for report in reports:
        delays.update({int(delay): times for delay, times in report["delays"].items()})
    return {
        **{f"p{share}": _percentile(delays, share) for share in (50, 95, 99, 100)},
        "lost": told * CLIENTS - delays.total(),
        "caught_up": sum(report["caught_up"] for report in reports),
        "out_of_order": sum(report["out_of_order"] for report in reports),
        "web_cores": round(cpu, 3),
        "web_mb": round(memory, 1),
        "load": os.getloadavg()[0],
    }


def _publish(run: Any) -> int:
    """Tell metrics at a steady pace, as the training worker does. Returns how many."""
    from bots import live

    started = time.monotonic()
    for number in range(PER_SECOND * SECONDS):
        time.sleep(max(0.0, started + number / PER_SECOND - time.monotonic()))
        points = [
            [name, number, 2.345678] for name in ("train_loss", "val_loss", "lr", "grad_norm", "tokens_per_second")
        ]
        message = {"type": "metrics", "run": str(run.pk), "kind": "offline", "points": points}
        live.tell(run.bot_id, {**message, "number": number, "at": time.monotonic()})
    live.flush()
    time.sleep(2 * GOAL)  # what comes later is lost
    return PER_SECOND * SECONDS


@contextmanager
def _web() -> Iterator[tuple[psutil.Process, int]]:
    from django.conf import settings

    from kilroy_site.supervisor.children import programs

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    as_usual = programs(replace(settings.CONFIG, host="127.0.0.1", port=port, log_level="WARNING"))
    process = subprocess.Popen(next(program.command for program in as_usual if program.name == "web"), cwd=BASE_DIR)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield psutil.Process(process.pid), port
    finally:
        process.terminate()
        process.wait()


def _clients(port: int, topic: str, token: str) -> subprocess.Popen[str]:
    count = CLIENTS // PROCESSES
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench.fanout_clients", str(port), "acme", topic, token, str(count)],
        cwd=BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _percentile(delays: Counter[int], share: int) -> float:
    """In seconds; infinite where nothing was heard."""
    left = delays.total() * share / 100
    for delay in sorted(delays):
        left -= delays[delay]
        if left <= 0:
            return delay / 1000
    return float("inf")


if __name__ == "__main__":
    main(measure)
