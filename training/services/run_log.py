"""The log of a run: what happened to it, in lines that people read."""

from __future__ import annotations

from accounts import audit, clock
from bots import live
from training.models import Run, RunEvent

LONGEST = 1000


def note(run: Run, text: str, *, level: str = RunEvent.Level.INFO, step: int | None = None) -> RunEvent:
    """Add a line, in the transaction of what it tells of."""
    line: RunEvent = RunEvent.objects.create(run=run, at=clock.now(), text=text[:LONGEST], level=level, step=step)
    tell(run, line)
    return line


def tell(run: Run, line: RunEvent) -> None:
    """Tell a new line to whoever watches."""
    said = {"level": str(line.level), "kind": line.kind, "text": line.text, "step": line.step}
    live.tell(run.bot_id, {"type": "run_event", "run": str(run.pk), "at": line.at.isoformat(), **said})


def moved(run: Run, state: str, *, reason: str = "") -> None:
    """Note that a run is in another state now, and why."""
    words = WORDS[Run.State(state)]
    level = RunEvent.Level.WARNING if state == Run.State.FAILED else RunEvent.Level.INFO
    note(run, f"{words}: {reason}" if reason else f"{words}.", level=level)


WORDS = {
    Run.State.QUEUED: "Waits",
    Run.State.RUNNING: "Running",
    Run.State.PAUSED: "Paused",
    Run.State.FINISHED: "Finished",
    Run.State.STOPPED: "Stopped",
    Run.State.FAILED: "Failed",
}


def by() -> str:
    """Who is acting, for the end of a sentence."""
    return f"by {audit.actor().label}"
