"""How much memory an import takes, in MB, however large the file is; at most 500: what its process grows by at its
peak, and what PostgreSQL has of its own for it before the transaction ends.

The file is made on the spot, JSON Lines of posts that all differ, BENCH_IMPORT_MB large (300 by default, 5000 is what
it is built for). It is uploaded, looked through and imported by the services into a PostgreSQL of its own, with the
filters that remember most. How fast that went is printed.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

from tests.bench.database import main, report_of
from tests.bench.measurement import Measurement

MEGABYTES = float(os.environ.get("BENCH_IMPORT_MB", "300"))
FILTERS = {"reposts": {}, "links_only": {}, "too_short": {"min_words": 3}, "duplicates": {}, "near_duplicates": {}}
GOAL = 500.0


def run() -> Measurement:
    """Measured in a process of its own, so that nothing else counts."""
    report = report_of("tests.bench.bench_import")
    return Measurement(ours=report["growth_mb"] + report["database_mb"], goal=GOAL, better="lower")


def make_file(path: Path, megabytes: float) -> None:
    """Posts of made-up words; one in fifty is there twice."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvwy", k=rng.randint(2, 9))) for _ in range(20_000)]
    wanted, row = megabytes * 1_000_000, 0
    with path.open("w") as out:
        while out.tell() < wanted:
            lines = []
            for _ in range(1000):
                row += 1
                text = " ".join(rng.choices(words, k=rng.randint(8, 30)))
                post = {
                    "text": text,
                    "likes": rng.randint(0, 999),
                    "user": f"author{row % 5000}",
                    "date": 1_500_000_000 + row,
                }
                lines.append(json.dumps(post))
                if row % 50 == 0:
                    lines.append(lines[-1])
            out.write("\n".join(lines) + "\n")


def peak_mb() -> float:
    """The largest resident memory this process ever had."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM:"))


def database_mb() -> float:
    """What the server's process behind our connection has in memory that it does not share with others."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    status = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("Anonymous:"))


def measure(folder: Path) -> dict[str, float]:
    """Import a file with the services."""
    from django.core.files.uploadedfile import UploadedFile
    from django.db import transaction

    from accounts.tenancy import tenant
    from tests.factories import make_bot, make_world
    from training.services import datasets

    file = folder / "posts.jsonl"
    make_file(file, MEGABYTES)
    with tenant(make_world().acme.pk):
        bot = make_bot()
        before = peak_mb()
        started, busy = time.monotonic(), time.process_time()
        with file.open("rb") as stream:
            uploaded = UploadedFile(stream, "posts.jsonl", size=file.stat().st_size)
            dataset = datasets.upload_dataset(
                bot, uploaded, name="Posts", source="made up", licence="none", may_learn=True
            )
        dataset = datasets.look_through(dataset, filters=FILTERS)
        looked = time.monotonic()
        datasets.request_import(dataset.pk)
        with transaction.atomic():
            dataset = datasets.import_dataset(dataset.pk)
            database = database_mb()  # before the end, for which much may be remembered
        ended = time.monotonic()
    if dataset.state != dataset.State.READY:
        raise RuntimeError(dataset.error)
    size = file.stat().st_size / 1e6
    return {
        "file_mb": round(size, 1),
        "posts": dataset.example_count,
        "before_mb": round(before, 1),
        "growth_mb": round(peak_mb() - before, 1),
        "database_mb": round(database, 1),
        "upload_and_previews_s": round(looked - started, 1),
        "cpu_s": round(time.process_time() - busy, 1),
        "mb_per_s": round(size / (ended - looked), 2),
        "posts_per_s": round(dataset.example_count / (ended - looked)),
    }


if __name__ == "__main__":
    main(measure)
