"""A run of 1,000,000 points as its charts read it, over reading its points: at most 0.5 of the time, and 300 ms.

Five metrics of 250,000, 250,000, 250,000, 240,000 and 10,000 points. What is measured is the whole answer of the
server in one process, without HTTP: whole, a twentieth of it, smoothed; the slowest counts, at its 95th percentile.
The peer is what thinning without buckets begins with: reading the points of one chart.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.database import main, report_of
from tests.bench.measurement import Measurement

POINTS = int(os.environ.get("BENCH_SERIES_POINTS", "1000000"))
SHARES = {"loss": 0.25, "gradient_norm": 0.25, "learning_rate": 0.25, "tokens_per_second": 0.24, "heldout_loss": 0.01}
REPEATS = 20
GOAL = 0.5
SLOWEST, MOST = 0.3, 2000


def run() -> Measurement:
    """p95 seconds of the slowest answer, and what a reading of all points takes."""
    report = report_of("tests.bench.bench_series")
    answers = report["answers"]
    worst = max(answers.values(), key=lambda answer: float(answer["p95"]))
    limits = {f"{name}: {each['points']} points were sent": each["points"] > MOST for name, each in answers.items()}
    limits |= {f"{name}: it took {each['p95']:.3f} s": each["p95"] > SLOWEST for name, each in answers.items()}
    limits["a flush of 100 points takes more than 50 ms"] = report["flush"] > 0.05
    broken = tuple(words for words, is_broken in limits.items() if is_broken)
    return Measurement(ours=worst["p95"], goal=GOAL, better="lower", peer=report["raw"], broken=broken)


def measure(folder: Path) -> dict[str, Any]:
    """Seconds of each answer and its points; seconds of making the buckets, of a flush, of reading a chart's points."""
    from django.db import connection

    from accounts.row_security import as_owner
    from accounts.tenancy import tenant
    from tests.factories import client_of, make_bot, make_run, make_world
    from training.models import Metric
    from training.services.telemetry import Recorder

    world = make_world()
    client = client_of(world.alice)
    client.defaults["HTTP_HOST"] = "localhost"
    with tenant(world.acme.pk):
        measured = make_run(make_bot(), state="finished")
        _fill(measured)
        address = f"/o/acme/bots/{measured.bot_id}/runs/{measured.pk}/series/"
        filled = _seconds(lambda: client.get(address), 1)[0]
        with as_owner(), connection.cursor() as cursor:  # as autovacuum does within a minute
            cursor.execute("ANALYZE training_metric, training_metricbucket")
        longest = int(POINTS * SHARES["loss"])
        queries = {
            "whole": "",
            "a twentieth": f"?after={longest // 2}&before={longest // 2 + longest // 20}",
            "one metric": "?name=loss",
            "smoothed over 2": "?smooth=2",
            "smoothed over 4096": "?smooth=4096",
            "one metric smoothed": "?name=loss&smooth=64",
        }
        answers = {name: _answer(client, address + query) for name, query in queries.items()}
        points = Metric.objects.filter(run=measured, name="loss").order_by("step").values_list("step", "value")
        raw = _seconds(lambda: list(points.all()), 3)
        flushes = []
        for at in range(REPEATS):
            with Recorder(measured) as recorder:
                recorder._points = [("loss", longest + at * 100 + step, 2.0) for step in range(100)]
                flushes += _seconds(recorder.flush, 1)
    return {"filled": filled, "answers": answers, "raw": sorted(raw)[1], "flush": sorted(flushes)[REPEATS // 2]}


def _fill(measured: Any) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for number, (name, share) in enumerate(SHARES.items()):
            every = 25 if share < 0.1 else 1
            cursor.execute(
                "INSERT INTO training_metric (organization_id, run_id, name, step, value, at) "
                "SELECT %s, %s, %s, n * %s, %s + sin(n / 5000.0) + random(), now() FROM generate_series(0, %s) AS n",
                [measured.organization_id, measured.pk, name, every, number, int(POINTS * share) - 1],
            )


def _answer(client: Any, address: str) -> dict[str, Any]:
    body = client.get(address).json()
    points = sum(len(points) for run in body["runs"] for points in run["metrics"].values())
    seconds = sorted(_seconds(lambda: client.get(address), REPEATS))
    return {"p50": seconds[REPEATS // 2], "p95": seconds[int(REPEATS * 0.95) - 1], "points": points}


def _seconds(action: Callable[[], Any], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        taken.append(round(time.perf_counter() - began, 5))
    return taken


if __name__ == "__main__":
    main(measure)
