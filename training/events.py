"""What webhooks (docs/webhooks.md) and people (docs/notifications.md) are told of runs and of what they make."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from accounts.notifications import tell
from accounts.webhooks import emit
from training.models import ModelVersion, Run

MOVED = {
    Run.State.FINISHED: "run.finished",
    Run.State.STOPPED: "run.finished",
    Run.State.FAILED: "run.failed",
    Run.State.PAUSED: "run.paused",
}


def run_started(run: Run) -> None:
    emit("run.started", _of_run(run, run.state))


def run_moved(run: Run, new: str) -> None:
    """Tell that a run is in another state now, in the transaction that put it there."""
    event = MOVED.get(Run.State(new))
    if event:
        emit(event, _of_run(run, new))
    path = reverse("training:run-detail", args=[run.organization.slug, run.bot_id, run.pk])
    if new == Run.State.FAILED:
        error = Run.objects.values_list("error", flat=True).get(pk=run.pk)
        tell("run.failed", f"Training of {run.bot} failed", path, error, f"run {run.pk}")
    elif new == Run.State.FINISHED:
        tell("run.finished", f"{run.get_kind_display()} of {run.bot} finished", path, subject=f"run {run.pk}")


def round_finished(run: Run, number: int) -> None:
    emit("round.finished", _of_run(run, run.state) | {"round": number})


def model_created(version: ModelVersion) -> None:
    emit("model.created", _of_model(version))


def model_promoted(version: ModelVersion) -> None:
    emit("model.promoted", _of_model(version))


def _of_run(run: Run, state: str) -> dict[str, Any]:
    return {"run": str(run.pk), "bot": str(run.bot_id), "kind": str(run.kind), "state": str(state)}


def _of_model(version: ModelVersion) -> dict[str, Any]:
    about = {"model": str(version.pk), "bot": str(version.bot_id)}
    return about | {"number": version.number, "kind": str(version.kind)}
