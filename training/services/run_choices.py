"""Which runs are held against each other: the pinned one of a bot, and what sets two configurations apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from accounts import audit
from bots.models import Bot
from training.models import Run
from training.services import run_log
from training.settings_forms import KINDS, with_unit
from training.settings_schema import described

MOST_BESIDE = 5
"""Runs that a chart shows beside its own: more lines cannot be told apart."""
MOST_OFFERED = 8


@transaction.atomic
def pin(run_id: UUID | str) -> Run:
    """Make a run the one that its bot's other runs are held against; the one before is so no longer."""
    bot_id = Run.objects.values_list("bot", flat=True).get(pk=run_id)
    Bot.objects.select_for_update(no_key=True).get(pk=bot_id)  # so that two at once leave one
    run = Run.locked(run_id)
    for other in Run.objects.filter(bot=bot_id, pinned=True).exclude(pk=run.pk):
        _set(other, False)
    return _set(run, True)


@transaction.atomic
def unpin(run_id: UUID | str) -> Run:
    """Hold no run against this one any longer."""
    return _set(Run.locked(run_id), False)


def _set(run: Run, pinned: bool) -> Run:
    if run.pinned != pinned:
        run.pinned = pinned
        run.save(update_fields=["pinned"])
        verb = "pin" if pinned else "unpin"
        audit.record(f"run.{verb}", run, before={"pinned": not pinned}, after={"pinned": pinned})
        run_log.note(run, f"{'Pinned as the baseline' if pinned else 'No longer the baseline'} {run_log.by()}.")
    return run


def pinned_beside(run: Run) -> list[Run]:
    """The pinned run of the same bot and kind, unless it is this one."""
    if run.pinned:
        return []
    return list(Run.objects.filter(bot=run.bot_id, kind=run.kind, pinned=True).exclude(pk=run.pk)[:1])


def label(run: Run) -> str:
    """A run's name among its bot's others."""
    return f"{run.get_kind_display()}, {run.created_at:%-d %b %H:%M}"


def beside(run: Run) -> list[Run]:
    """The latest other runs of the same bot and kind that may be shown beside it: not the pinned one, which is."""
    return list(Run.objects.filter(bot=run.bot_id, kind=run.kind, pinned=False).exclude(pk=run.pk)[:MOST_OFFERED])


@dataclass(frozen=True)
class Difference:
    """A setting with its value in each of the runs, in their order, as it is and in words; None and “–” where a run
    has no such setting.
    """

    name: str
    label: str
    values: tuple[Any, ...]
    shown: tuple[str, ...]


class _Fact(NamedTuple):
    label: str
    value: Any
    words: str


def differences(runs: Sequence[Run]) -> list[Difference]:
    """The settings, defaults included, in which runs differ; their kinds, datasets and start versions among them."""
    rows = [_facts(run) for run in runs]
    found = []
    for name, label in {name: fact.label for row in rows for name, fact in row.items()}.items():
        facts = [row.get(name, _Fact(label, None, "–")) for row in rows]
        values = tuple(fact.value for fact in facts)
        if any(value != values[0] for value in values):
            found.append(Difference(name, label, values, tuple(fact.words for fact in facts)))
    return found


def _facts(run: Run) -> dict[str, _Fact]:
    named = {"kind": ("Kind of run", run.get_kind_display())}
    named["datasets"] = ("Datasets", ", ".join(map(str, run.sources.all())))
    named["start_version"] = ("Start version", str(run.start_version or ""))
    found = {name: _Fact(label, told or None, told or "–") for name, (label, told) in named.items()}
    for each in described(KINDS[run.kind]):
        value = run.config.get(each.name, each.default)
        found[each.name] = _Fact(each.setting.label, value, with_unit(each, value))
    return found
