"""`manage.py rehearse`, for real and in short: what it says, that it can be repeated, that nothing stays behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command

from kilroy_site.config import BASE_DIR
from kilroy_site.embedded.postgres import Postgres, database_url

FIGURES = {
    "posts", "baseline_reward", "final_reward", "uplift", "uplift_low", "uplift_high",
    "kl", "distinct_2", "duplicate_rate", "memorised_rate", "seconds",
}  # fmt: skip
SECONDS = 280


def rehearse(var: Path, *arguments: str) -> subprocess.Popen[str]:
    kept = {name: os.environ[name] for name in os.environ if not name.startswith(("DATABASE_", "REDIS_", "DJANGO_"))}
    ours = {"KILROY_VAR": str(var), "KILROY_TRAINING_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "manage.py", "rehearse", "--posts", "16", "--short", "--json", *arguments],
        cwd=BASE_DIR,
        env=kept | ours,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("rehearsals")
    return folder / "first", folder / "second"


@pytest.fixture(scope="module")
def answers(folders: tuple[Path, Path]) -> list[str]:
    """What two rehearsals with one seed, at one time and in two installations, wrote to standard output."""
    processes = [rehearse(folder, "--seed", "7") for folder in folders]
    try:
        said = [process.communicate(timeout=SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], [errors for _, errors in said]
    return [words for words, _ in said]


def test_it_ends_with_one_line_of_json(answers: list[str]) -> None:
    for answer in answers:
        assert answer.count("\n") == 1
        report = json.loads(answer)
        assert set(report) == FIGURES
        assert report["posts"] == 16
        assert report["uplift_low"] < report["uplift"] < report["uplift_high"]
        assert report["uplift"] == pytest.approx(report["final_reward"] - report["baseline_reward"], abs=2e-4)
        assert 0 < report["distinct_2"] <= 1
        assert report["kl"] >= 0
        assert 0 <= report["duplicate_rate"] <= 1
        assert 0 <= report["memorised_rate"] <= 1
        assert report["seconds"] > 0


def test_one_seed_gives_one_rehearsal(answers: list[str]) -> None:
    first, second = (json.loads(answer) | {"seconds": None} for answer in answers)
    assert first == second


def test_nothing_of_it_reaches_the_installations_data(answers: list[str], folders: tuple[Path, Path]) -> None:
    for var in folders:
        assert {path.name for path in var.iterdir()} <= {
            "postgres",
            "redis",
            "run",
            "logs",
            "secret_key",
            "credential_key",
            "up.lock",
        }
        server = Postgres(var)
        process = server.start(var / "logs" / "postgres-again.log")
        try:
            with psycopg.connect(database_url(var)) as connection:
                databases = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
                tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        finally:
            server.stop(process)
        assert databases == {"postgres", "template0", "template1", "kilroy"}
        assert tables == (0,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--posts", "3"], "argument --posts: give a whole number of at least 16"),
        (["--posts", "many"], "argument --posts: give a whole number of at least 16"),
        (["--seed", "-1"], "argument --seed"),
        (["--seed", "x"], "argument --seed: give a whole number from 0 to 2147483647"),
        (["--algorithm", "magic"], "argument --algorithm: invalid choice: 'magic'"),
    ],
)
def test_a_wrong_option_is_said(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=re.escape(words)):
        call_command("rehearse", *arguments)


def test_whoever_runs_it_is_told_and_gets_no_report(tmp_path: Path) -> None:
    process = rehearse(tmp_path / "var", "--seed", "x")
    report, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, report) == (2, "")
    assert "argument --seed: give a whole number from 0 to 2147483647" in errors
