"""From the training loop to the database and the watchers: metrics and samples, coalesced to a few writes a second."""

from __future__ import annotations

import time
from collections.abc import Mapping

from django.db import transaction

from bots import live
from training.models import Metric, Run, SampleSet
from training.services import alerts, buckets

FLUSH_EVERY = 0.25
"""Seconds between writes: the charts move four times a second, whatever the loop's speed."""
LARGEST = 1e200
"""What is larger is no measurement, and the sum of a bucket could not hold it."""


class Recorder:
    """Collects a run's metrics; `on_step` is what the engine calls. Close it (or use `with`) to write the rest."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._points: list[tuple[str, int, float]] = []
        self._not_numbers: list[tuple[str, int]] = []
        self._watch = alerts.Watch(run)
        self._flushed_at = time.monotonic()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.flush()

    def on_step(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            if abs(value) <= LARGEST:  # which NaN is not
                self._points.append((name, step, float(value)))
            else:
                self._not_numbers.append((name, step))
        if time.monotonic() - self._flushed_at >= FLUSH_EVERY:
            self.flush()

    def on_samples(self, step: int, texts: list[str]) -> None:
        with transaction.atomic():
            SampleSet.objects.update_or_create(run=self.run, step=step, defaults={"texts": list(texts)})
            drawn = {"run": str(self.run.pk), "kind": self.run.kind, "step": step, "texts": list(texts)}
            live.tell(self.run.bot_id, {"type": "samples", **drawn})

    def flush(self) -> None:
        points = list({(name, step): (name, step, value) for name, step, value in self._points}.values())
        not_numbers, self._points, self._not_numbers = self._not_numbers, [], []
        self._flushed_at = time.monotonic()
        if not points and not not_numbers:
            return
        with transaction.atomic():
            if points:
                self._write(points)
            self._watch.look(points, not_numbers)

    def _write(self, points: list[tuple[str, int, float]]) -> None:
        buckets.hold(self.run.pk)
        # A slice that is repeated after a kill measures its steps again: the later measurement stands.
        Metric.objects.bulk_create(
            [Metric(run=self.run, name=name, step=step, value=value) for name, step, value in points],
            update_conflicts=True,
            unique_fields=["run", "name", "step"],
            update_fields=["value"],
        )
        buckets.roll_up(self.run.pk, [(name, step) for name, step, _ in points])
        told = {"run": str(self.run.pk), "kind": self.run.kind, "points": [list(p) for p in points]}
        live.tell(self.run.bot_id, {"type": "metrics", **told})
