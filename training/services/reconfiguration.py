"""Changing the settings of a run that lives: strictly checked, written down, and in force from the next round on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit
from accounts.doorbell import ring
from accounts.models import AuditEntry
from bots import live
from training import configs
from training.models import Run
from training.services import run_log
from training.services.runs import ADVANCE
from training.settings_schema import described, shown

ACTION = "run.reconfigure"


@transaction.atomic
def reconfigure(run_id: UUID | str, changes: Mapping[str, Any]) -> Run:
    """Change settings of a living online run. A round that is under way ends with those it began with.

    Raises ValidationError, and changes nothing, when the run is over or a fine-tuning, or when a setting is unknown,
    of the wrong type, out of range, or fixed while the run lives.
    """
    run = Run.locked(run_id)
    if run.state not in Run.LIVING:
        raise ValidationError(f"This run is over ({run.get_state_display().lower()}): start a new one.")
    if run.kind == Run.Kind.OFFLINE:
        raise ValidationError(
            {
                "config": "A fine-tuning keeps its settings from the first step to the last, so that it can be "
                "repeated: stop it, and start another."
            }
        )
    full = _merged(run, changes)
    before = {name: run.config.get(name) for name in full if full[name] != run.config.get(name)}
    if not before:
        return run
    run.config = full
    run.save(update_fields=["config"])
    audit.record(ACTION, run, before=before, after={name: full[name] for name in before})
    changed = ", ".join(f"{name} {shown(before[name])} → {shown(full[name])}" for name in sorted(before))
    run_log.note(run, f"Settings changed {run_log.by()}: {changed}.")
    live.tell(run.bot_id, {"type": "run", "run": str(run.pk), "state": run.state, "kind": run.kind})
    ring(ADVANCE, run.organization_id, run.pk)  # a longer queue may make a round due
    return run


def _merged(run: Run, changes: Mapping[str, Any]) -> dict[str, Any]:
    configs.check_online(changes)  # its words are about what was sent, not about what has long been there
    live_names = {each.name for each in described(configs.OnlineRunConfig) if each.setting.live}
    fixed = [name for name, value in changes.items() if name not in live_names and value != run.config.get(name)]
    if fixed:
        raise ValidationError(
            {"config": f"“{fixed[0]}” is fixed from the first round on: start a new run to change it."}
        )
    return configs.as_json(configs.online(run.config | dict(changes), run.bot.connection.capabilities.max_length))


@dataclass(frozen=True)
class Change:
    """One setting that somebody changed while the run lived."""

    name: str
    before: Any
    after: Any
    by: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.name} {shown(self.before)} → {shown(self.after)} by {self.by}"


def changes_of(run: Run) -> list[Change]:
    """Every change of the run's settings, oldest first."""
    entries = AuditEntry.objects.filter(action=ACTION, object_id=str(run.pk), at__gte=run.created_at).order_by("pk")
    return [
        Change(name, entry.before[name], entry.after[name], entry.actor, entry.at)
        for entry in entries
        for name in sorted(entry.before)
    ]


def told(run: Run, earlier: Mapping[str, Any]) -> list[str]:
    """Sentences on what is different from the settings of the last round, and who changed it."""
    by = {change.name: change.by for change in changes_of(run)}
    different = [name for name in sorted(run.config) if run.config[name] != earlier.get(name, run.config[name])]
    parts = [
        f"{name} {shown(earlier[name])} → {shown(run.config[name])}" + (f" by {by[name]}" if name in by else "")
        for name in different
    ]
    return [f"Settings changed: {', '.join(parts)}."] if parts else []
