"""The benchmarks' runner: a goal is judged, and the last line is JSON."""

from __future__ import annotations

import json

import pytest

from tests.bench.__main__ import main, names
from tests.bench.measurement import Measurement


@pytest.mark.parametrize(
    ("measurement", "met"),
    [
        (Measurement(ours=200.0, goal=200.0, better="lower"), True),
        (Measurement(ours=200.1, goal=200.0, better="lower"), False),
        (Measurement(ours=3.0, peer=1.0, goal=3.0, better="higher"), True),
        (Measurement(ours=2.9, peer=1.0, goal=3.0, better="higher"), False),
        (Measurement(ours=3.0, goal=1.0, better="higher", broken=("seed 1: seconds is 700",)), False),
    ],
)
def test_a_goal_is_about_the_ratio_where_there_is_a_peer(measurement: Measurement, met: bool) -> None:
    assert measurement.met is met


def test_the_line_is_complete() -> None:
    line = Measurement(ours=6.0, peer=4.0, goal=2.0, better="lower").line("sampling")
    assert json.loads(line) == {"name": "sampling", "ours": 6.0, "peer": 4.0, "ratio": 1.5, "goal": 2.0, "met": True}


def test_an_unknown_benchmark_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    assert capsys.readouterr().err == f"There is no benchmark 'nothing'; there are: {', '.join(names())}.\n"
