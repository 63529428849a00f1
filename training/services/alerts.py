"""Alerts: what the numbers of a run say is going wrong, said once a run and kind, in its log and to its people.

- `not_a_number`: a measured value, or a step of the policy, was not a number.
- `divergence`: the training loss lies far above its lowest; or the policy is far from where it began.
- `overfitting`: the held-out loss rises while the training loss falls.
- `reward_hacking`: the watchdog raised an alarm: reactions come by other means than better posts.

The limits are wide on purpose: early stopping and the limit of KL already deal with what is ordinary, and an alert is
for what they do not.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from django.db import transaction
from django.db.models import F, FloatField, Min
from django.db.models.functions import Cast
from django.urls import reverse

from accounts import audit, clock, notifications
from training.models import Metric, MetricBucket, Run, RunEvent
from training.services import buckets, run_log

NOT_A_NUMBER, DIVERGENCE = "not_a_number", "divergence"
OVERFITTING, REWARD_HACKING = "overfitting", "reward_hacking"
TITLES = {
    NOT_A_NUMBER: "Not a number",
    DIVERGENCE: "Divergence",
    OVERFITTING: "Overfitting",
    REWARD_HACKING: "Reward hacking",
}

WINDOW = 16
"""Steps whose mean loss is looked at: as many as a bucket of the lowest level has."""
RISE, LEAST_RISE = 1.5, 0.5
"""A loss has diverged at so many times its lowest mean, and so many nats above it."""
RISES_IN_A_ROW, OVER_BEST = 3, 1.1
"""A run overfits when so many evaluations in a row were worse than the one before, and the last so many times the
best."""
EVALUATIONS = 200
KL_TIMES = 5.0
"""Times the configured target of KL: at twice its target of the round the engine already pulls the policy back."""

Point = tuple[str, int, float]


@transaction.atomic
def raise_alert(run: Run, kind: str, text: str, step: int | None = None) -> bool:
    """Raise an alert of this kind, unless the run has had one. Returns whether it is new."""
    said = {"at": clock.now(), "text": text[: run_log.LONGEST], "step": step}
    line, fresh = RunEvent.objects.get_or_create(run=run, kind=kind, level=RunEvent.Level.ALERT, defaults=said)
    if fresh:
        audit.record("run.alert", run, after={"kind": kind, "text": text, "step": step})
        run_log.tell(run, line)
        page = reverse("training:run-detail", args=[run.organization.slug, run.bot_id, run.pk])
        notifications.tell("run.alert", f"{TITLES[kind]}: {run}", f"{page}#log", text, subject=f"run {run.pk} {kind}")
    return bool(fresh)


def of_round(run: Run, number: int, report: Mapping[str, Any]) -> None:
    """Raise an alert where a round's watchdog raised an alarm."""
    readings: Iterable[Mapping[str, Any]] = report.get("watchdog") or ()
    if alarms := [str(reading["sentence"]) for reading in readings if reading["level"] == "alarm"]:
        raise_alert(run, REWARD_HACKING, " ".join(alarms), number)


class Watch:
    """Looks at a run's points as they are written, in their transaction."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._raised: set[str] = set()
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._lowest = math.inf
        self._began = False

    def look(self, points: Sequence[Point], not_numbers: Sequence[tuple[str, int]]) -> None:
        """`points` are finite, rise by step, and are in the database; `not_numbers` could not be written."""
        if not_numbers:
            name, step = not_numbers[0]
            self._not_a_number(f"“{name}” was not a number", step)
        looks = self._offline if self.run.kind == Run.Kind.OFFLINE else self._online
        looks(points)

    def _raise(self, kind: str, text: str, step: int) -> None:
        if kind not in self._raised:  # what goes wrong often does so at every step
            self._raised.add(kind)
            raise_alert(self.run, kind, text, step)

    def _not_a_number(self, what: str, step: int) -> None:
        advice = "If it happens again, start anew with a lower learning rate."
        self._raise(NOT_A_NUMBER, f"{what} at step {step}. {advice}", step)

    def _offline(self, points: Sequence[Point]) -> None:
        for name, step, value in points:
            if name == "loss":
                self._look_at_loss(step, value)
        if evaluated := [step for name, step, _ in points if name == "heldout_loss"]:
            self._look_at_evaluations(evaluated[-1])

    def _look_at_loss(self, step: int, value: float) -> None:
        if not self._began:
            self._remember(step)
        self._losses.append(value)
        if len(self._losses) < WINDOW:
            return
        mean = sum(self._losses) / WINDOW
        if mean > max(RISE * self._lowest, self._lowest + LEAST_RISE):
            text = (
                f"The training loss is {mean:.2f} over the last {WINDOW} steps; it has been {self._lowest:.2f}. "
                "Stop the run and start another with a lower learning rate; the best model so far is kept."
            )
            self._raise(DIVERGENCE, text, step)
        self._lowest = min(self._lowest, mean)

    def _remember(self, step: int) -> None:
        """What earlier slices of the run measured before this step."""
        self._began = True
        earlier = Metric.objects.filter(run=self.run, name="loss", step__lt=step).order_by("-step")[: WINDOW - 1]
        self._losses.extend(reversed(earlier.values_list("value", flat=True)))
        mean = Cast(F("total"), FloatField()) / F("count")
        whole = MetricBucket.objects.filter(
            run=self.run, name="loss", level=buckets.LEVELS[0], count=WINDOW, last_step__lt=step
        )
        lowest = whole.aggregate(lowest=Min(mean))["lowest"]
        self._lowest = math.inf if lowest is None else lowest

    def _look_at_evaluations(self, step: int) -> None:
        latest = Metric.objects.filter(run=self.run, name="heldout_loss", step__lte=step).order_by("-step")
        rows = list(latest.values_list("step", "value")[:EVALUATIONS])[::-1]
        values = [value for _, value in rows]
        recent = values[-RISES_IN_A_ROW - 1 :]
        rising = len(recent) > RISES_IN_A_ROW and all(a < b for a, b in pairwise(recent))
        best = min(values)
        if not (rising and values[-1] > OVER_BEST * best and self._falls(rows[values.index(best)][0], step)):
            return
        text = (
            f"The held-out loss has risen {RISES_IN_A_ROW} times in a row, to {values[-1]:.2f} from {best:.2f} at its "
            "best, while the training loss falls: the model learns its posts by heart. Stop the run (the best model is "
            "kept), or give it more posts."
        )
        self._raise(OVERFITTING, text, step)

    def _falls(self, since: int, step: int) -> bool:
        """Whether the training loss is lower now than around the best evaluation."""
        losses = Metric.objects.filter(run=self.run, name="loss").order_by("-step").values_list("value", flat=True)
        then, now = (list(losses.filter(step__lte=at)[:WINDOW]) for at in (since, step))
        return bool(now) and (not then or sum(now) / len(now) < sum(then) / len(then))

    def _online(self, points: Sequence[Point]) -> None:
        limit = KL_TIMES * float(self.run.config.get("kl_target") or math.inf)
        for name, step, value in points:
            if name == "not_finite_steps" and value > 0:
                self._not_a_number("The loss or gradient of a step of the policy was not a number", step)
            elif name == "kl" and value > limit:
                text = (
                    f"The policy is {value:.1f} nats a post away from the fine-tuned model, over {KL_TIMES:.0f} times "
                    "the target. Look at its latest posts; go back to an earlier version, or lower the target."
                )
                self._raise(DIVERGENCE, text, step)
