"""What webhooks are told of runs and of what they make (docs/webhooks.md)."""

from __future__ import annotations

from typing import Any

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
