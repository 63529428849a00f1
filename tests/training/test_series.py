"""Metrics in buckets: exact in whatever order they come, few when they are read, smoothed before they are thinned."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import product

import pytest
from django.db import connection

from bots.models import Bot
from tests.factories import make_metric, make_run
from training import series
from training.models import Metric, MetricBucket, Run
from training.services.telemetry import Recorder

Values = dict[int, float]


@pytest.fixture
def long_run(bot: Bot) -> Run:
    return make_run(bot, state="finished")


def record(run: Run, values: Iterable[tuple[int, float]], name: str = "loss") -> None:
    """As a training does."""
    with Recorder(run) as recorder:
        recorder._points += [(name, step, value) for step, value in values]


def insert(run: Run, values: Values, name: str = "loss") -> None:
    """Many points, whose buckets are made when they are first read."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO training_metric (organization_id, run_id, name, step, value, at) "
            "SELECT %s, %s, %s, step, value, now() FROM unnest(%s::int[], %s::float8[]) AS point (step, value)",
            [run.organization_id, run.pk, name, list(values), list(values.values())],
        )


def noisy(steps: Iterable[int], seed: int = 0) -> Values:
    rng = random.Random(seed)
    return {step: rng.gauss(2.0, 0.5) for step in steps}


def brute_force(name: str, values: Values, level: int) -> dict[int, tuple[object, ...]]:
    """Bucket's number → everything that its row should hold."""
    found = {}
    for number in {step >> level for step in values}:
        inside = {step: value for step, value in values.items() if step >> level == number}
        low, high = min((v, s) for s, v in inside.items()), max((v, -s) for s, v in inside.items())
        last = max(inside)
        found[number] = (len(inside), *low, high[0], -high[1], inside[last], last, pytest.approx(sum(inside.values())))
    return found


FIELDS = ("count", "low", "low_step", "high", "high_step", "last", "last_step", "total")


def assert_exact(run: Run, name: str, values: Values) -> None:
    for level in (4, 8, 12, 16):
        rows = MetricBucket.objects.filter(run=run, name=name, level=level)
        assert {row[0]: row[1:] for row in rows.values_list("number", *FIELDS)} == brute_force(name, values, level)


def test_buckets_are_exact_whatever_comes_late_twice_or_with_gaps(long_run: Run) -> None:
    rng = random.Random(7)
    values: Values = {}
    for _ in range(15):
        steps = range(first := rng.randrange(0, 9000), first + 400)
        flushed = {step: rng.choice([rng.gauss(0, 1), 1.5]) for step in rng.sample(steps, rng.randrange(1, 60))}
        values |= flushed
        record(long_run, flushed.items())
    assert dict(Metric.objects.filter(run=long_run).values_list("step", "value")) == values
    assert_exact(long_run, "loss", values)


def test_of_steps_that_a_slice_repeats_the_later_measurement_stands(long_run: Run) -> None:
    record(long_run, [(step, 9.0) for step in range(40)])
    again = dict.fromkeys(range(30, 40), 1.0)
    record(long_run, again.items())
    assert_exact(long_run, "loss", dict.fromkeys(range(30), 9.0) | again)


def test_points_that_no_bucket_knows_are_found_when_they_are_read(long_run: Run) -> None:
    record(long_run, [(step, 1.0) for step in range(20)])
    make_metric(long_run, "loss", 20, 5.0)
    make_metric(long_run, "kl", 3, 0.5)
    assert series.series_of(long_run)["loss"][-1] == [20, 5.0]
    assert series.series_of(long_run)["kl"] == [[3, 0.5]]
    assert_exact(long_run, "loss", dict.fromkeys(range(20), 1.0) | {20: 5.0})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("level", [0, 3, 4, 7, 13])
def test_pieces_cover_a_range_once(level: int, seed: int) -> None:
    rng = random.Random(seed)
    first = rng.randrange(0, 5000)
    last = first + rng.choice([0, 5, 40, 700, 9000])
    covered = sorted(
        step
        for stored, low, high in series.pieces(first, last, level)
        for step in range(low << stored, (high + 1) << stored)
    )
    assert covered == list(range(first, last + 1))
    assert {stored for stored, _, _ in series.pieces(first, last, level)} <= {0, 4, 8, 12}


def test_a_long_metric_keeps_every_spike_of_the_range_that_is_asked_for(long_run: Run) -> None:
    values = noisy(range(10_000)) | {1235: 80.0, 7320: -80.0, 4444: 90.0, 105: 70.0}
    insert(long_run, values)
    for after, before in ((-1, None), (1234, 7321), (100, 110), (8000, None)):
        inside = {step: v for step, v in values.items() if step > after and (before is None or step < before)}
        by_value = sorted(inside, key=lambda step: inside[step])
        for most in (3, 50, 900):
            points = series.series_of(long_run, after=after, before=before, most=most)["loss"]
            assert min(len(inside), most * 0.3) <= len(points) <= most
            assert points == sorted(points)
            assert {int(step): value for step, value in points}.items() <= inside.items()
            assert {by_value[0], by_value[-1], max(inside)} <= {step for step, _ in points}


def test_all_metrics_together_keep_within_the_room_and_short_ones_are_whole(long_run: Run) -> None:
    for number, name in enumerate(("loss", "gradient_norm", "learning_rate")):
        insert(long_run, noisy(range(6000), number), name)
    heldout = noisy(range(0, 6000, 500))
    insert(long_run, heldout, "heldout_loss")
    found = series.series_of(long_run)
    assert sum(map(len, found.values())) <= 2000
    assert found["heldout_loss"] == [[step, value] for step, value in sorted(heldout.items())]
    assert all(len(found[name]) > 300 for name in ("loss", "gradient_norm", "learning_rate"))
    assert len(series.series_of(long_run, names=["loss", "nothing"])["loss"]) > 900
    assert series.series_of(long_run, most=None, each=7000)["loss"] == [
        [step, value] for step, value in sorted(noisy(range(6000), 0).items())
    ]


def moving_mean(values: Values, end: int, width: int) -> float:
    window = [value for step, value in values.items() if end - width < step <= end]
    return sum(window) / len(window)


def test_smoothing_is_the_mean_over_steps_and_comes_before_thinning(long_run: Run) -> None:
    steps = [step for step in range(6000) if step % 7 and not 2000 < step < 2100]
    values = noisy(steps) | {3333: 1e6}
    insert(long_run, values)
    for width, most, (after, before) in product((2, 64, 1024), (30, 300, 9000), ((-1, 6000), (1000, 3500))):
        drawn = series.draw(long_run, after=after, before=before, most=most, smooth=width)
        over, points = drawn.over["loss"], drawn.series["loss"]
        inside = [step for step in steps if after < step < before]
        assert min(len(inside), most * 0.3) <= len(points) <= most
        # Drawn buckets are up to 1024 steps wide at 30 points and 64 at 300: a mean is at least a quarter of that.
        least = {30: 256, 300: 16, 9000: 1}[most] if before == 6000 else {30: 128, 300: 8, 9000: 1}[most]
        assert over == max(width, least) or over == width
        fine = 0 if len(points) == len(inside) else _fine(points, values, over)
        for step, value in points:
            assert value == pytest.approx(moving_mean(values, int(step) | ((1 << fine) - 1), over), rel=1e-9)


def _fine(points: list[list[float]], values: Values, over: int) -> int:
    """The widest buckets, no wider than the mean, that the steps of all points are the last of."""
    for level in range(over.bit_length() - 1, -1, -1):
        ends = {step >> level: step for step in sorted(values)}
        if all(ends[int(step) >> level] == step for step, _ in points):
            return level
    raise AssertionError("no level has these ends")


def test_a_spike_that_has_left_the_window_leaves_nothing_behind(long_run: Run) -> None:
    record(long_run, [(step, 1e150 if step == 3 else 1.0) for step in range(100)])
    assert series.series_of(long_run, smooth=16)["loss"][30:] == [[step, 1.0] for step in range(30, 100)]


def test_zooming_in_shows_the_range_finer(long_run: Run) -> None:
    values = noisy(range(8000))
    insert(long_run, values)
    whole = series.series_of(long_run, most=300)["loss"]
    part = series.series_of(long_run, most=300, after=3999, before=4250)["loss"]
    assert len([step for step, _ in whole if 4000 <= step < 4250]) < 20
    assert part == [[step, values[step]] for step in range(4000, 4250)]


def test_reading_takes_two_statements_and_few_rows(
    long_run: Run, django_assert_num_queries: Callable[..., object]
) -> None:
    insert(long_run, noisy(range(20_000)))
    series.series_of(long_run)
    with django_assert_num_queries(2):  # type: ignore[attr-defined]
        drawn = series.draw(long_run, smooth=64)
    assert 1000 < len(drawn.series["loss"]) <= 2000  # one mean for every 16 steps
