"""How bots are doing: their latest rounds, which versions came of them, and what is to be done next. The home, the
overview, the shared page and its card read it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.urls import reverse

from accounts.tenancy import active
from bots.models import Bot
from training.models import Dataset, ModelVersion, Round, Run

MOST_MARKS = 200
LATEST = """
    SELECT wanted.id, latest.*
    FROM unnest(%(runs)s::uuid[]) AS wanted (id)
    CROSS JOIN LATERAL (
        SELECT number, finished_at,
            (metrics ->> 'reward_mean')::float8, (metrics ->> 'reward_low')::float8,
            (metrics ->> 'reward_high')::float8, (metrics ->> 'baseline_mean')::float8,
            (metrics ->> 'lift')::float8, (metrics ->> 'lift_low')::float8, (metrics ->> 'lift_high')::float8
        FROM training_round
        WHERE organization_id = %(organization)s AND run_id = wanted.id
        ORDER BY number DESC
        LIMIT %(most)s
    ) AS latest
    ORDER BY wanted.id, latest.number
"""
"""The latest rounds of each run, each found by the index on (run, number) however many there are."""


@dataclass(frozen=True)
class RoundFacts:
    """One round: mean reward of the learning arm with its 95 % interval, the baseline's mean, and the lift; in standard
    units. None: not measured yet.
    """

    number: int
    finished_at: datetime
    reward: float | None
    low: float | None
    high: float | None
    baseline: float | None
    lift: float | None
    lift_low: float | None
    lift_high: float | None


def latest_rounds(runs: Sequence[UUID], most: int) -> dict[UUID, list[RoundFacts]]:
    """Run's id → its latest rounds, oldest first."""
    found: dict[UUID, list[RoundFacts]] = defaultdict(list)
    if not runs:
        return found
    with connection.cursor() as cursor:
        cursor.execute(LATEST, {"runs": list(runs), "organization": active(), "most": most})
        for run, *facts in cursor:
            found[run].append(RoundFacts(*facts))
    return found


def newest_runs(bots: Iterable[Bot]) -> dict[UUID, dict[str, Run]]:
    """Bot's id → kind → its newest run of that kind."""
    found: dict[UUID, dict[str, Run]] = defaultdict(dict)
    runs = Run.objects.filter(bot__in=list(bots)).order_by("bot_id", "kind", "-created_at").distinct("bot_id", "kind")
    for run in runs.defer("config", "then_online", "error"):
        found[run.bot_id][run.kind] = run
    return found


def measured(rounds: Iterable[RoundFacts], name: str) -> list[tuple[int, float]]:
    """One of the facts as points (round, value), where it was measured."""
    return [(each.number, value) for each in rounds if (value := getattr(each, name)) is not None]


def marks_of(run: Run) -> list[dict[str, Any]]:
    """Where a run's charts are marked: each round (the newest 200) after which another version spoke."""
    if run.kind != Run.Kind.ONLINE:
        return []
    made = Round.objects.filter(run=run, version__isnull=False).order_by("-number")
    numbers = made.values_list("number", "version__number", "version__is_current")[:MOST_MARKS]
    return [
        {
            "step": number,
            "label": f"v{version}",
            "title": f"Version {version}, made in round {number}{', speaks now' if current else ''}",
        }
        for number, version, current in reversed(numbers)
    ]


@dataclass(frozen=True)
class NextStep:
    """What a bot that does not learn yet needs next; `permission` is what taking the step asks for."""

    words: str
    action: str
    url: str
    permission: str


def next_step(bot: Bot, slug: str) -> NextStep | None:
    """The step between a new bot and learning from reactions; None while a run is under way, or online learning has
    begun.
    """
    run = Run.objects.filter(bot=bot).first()
    if run is not None and (run.state in Run.LIVING or run.kind == Run.Kind.ONLINE):
        return None
    if run is not None and run.state == Run.State.FAILED:
        url = reverse("training:run-detail", args=[slug, bot.pk, run.pk])
        return NextStep("Fine-tuning failed. Its page says why.", "See why it failed", url, "run_view")
    if ModelVersion.objects.filter(bot=bot).exists():
        words = "It can write. Let it learn from reactions: start online learning."
        return NextStep(words, "Start online learning", reverse("training:runs", args=[slug, bot.pk]), "run_control")
    return _about_posts(bot, slug)


def _about_posts(bot: Bot, slug: str) -> NextStep | None:
    states = dict(Dataset.objects.filter(bot=bot).order_by("created_at").values_list("state", "pk"))
    if Dataset.State.READY in states:
        words = "Its posts are here. Fine-tuning teaches it to write like them."
        return NextStep(words, "Start fine-tuning", reverse("training:runs", args=[slug, bot.pk]), "run_control")
    if Dataset.State.UPLOADED in states:
        url = reverse("training:dataset-preview", args=[slug, bot.pk, states[Dataset.State.UPLOADED]])
        words = "A file was looked through and waits for your decision."
        return NextStep(words, "Import its posts", url, "dataset_edit")
    if Dataset.State.IMPORTING in states:
        return None
    url = reverse("training:dataset-upload", args=[slug, bot.pk])
    return NextStep("It needs past posts to learn how to write.", "Upload posts", url, "dataset_edit")
