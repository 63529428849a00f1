"""What the home of an organization and a bot's overview show of learning: how bots are doing, and what of it needs a
person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet, Value
from django.urls import reverse

from accounts.models import Membership
from bots.home import BROKEN, MOST_NEEDS, WAITING, Curve, Need
from bots.models import Bot
from training import drawings, progress, queries
from training.models import Dataset, Run, RunEvent
from training.services.demo import SOURCE

ROUNDS = 60
"""The latest ones, in a sparkline."""
WIDTH, HEIGHT, MARGIN = 100.0, 56.0, 4.0
TROUBLES: dict[str, tuple[str, str]] = {
    "alert": ("alarm", "Alert"),
    **{kind.value: ("failed", f"{kind.label} failed") for kind in Run.Kind},
}
"""What is wrong with a run → the state and the words of its pill."""


def curves(bots: Sequence[Bot]) -> Mapping[UUID, Curve]:
    """How each bot is doing in its newest online run."""
    runs = progress.newest_runs(bots)
    online = {bot: kinds[Run.Kind.ONLINE] for bot, kinds in runs.items() if Run.Kind.ONLINE in kinds}
    rounds = progress.latest_rounds([run.pk for run in online.values()], ROUNDS)
    return {
        bot.pk: _curve(rounds.get(online[bot.pk].pk, []) if bot.pk in online else [], runs[bot.pk])
        for bot in bots
        if bot.pk in runs
    }


def _curve(rounds: list[progress.RoundFacts], runs: Mapping[str, Run]) -> Curve:
    rewards, baseline = progress.measured(rounds, "reward"), progress.measured(rounds, "baseline")
    tone, verdict = _verdict(rounds[-1]) if rounds else ("waiting", "Not yet known")
    learning = _learning(runs)
    if len(rewards) < 2:
        return Curve(tone=tone, verdict=verdict, learning=learning)
    box = drawings.frame(WIDTH, HEIGHT - 2 * MARGIN, rewards, baseline)
    first, last = (drawings.plain(rewards[at][1]) for at in (0, -1))
    words = f"Mean reward over {len(rewards)} rounds: from {first} to {last} sd"
    return Curve(box.line(rewards), box.line(baseline), words, tone, verdict, learning)


def _verdict(last: progress.RoundFacts) -> tuple[str, str]:
    """Whether the bot is getting better, as tone and in a few words."""
    if last.lift is None or last.lift_low is None or last.lift_high is None:
        return "waiting", "Not yet known"
    apart = f"{abs(last.lift):.2f} sd {'above' if last.lift >= 0 else 'below'} the baseline"
    if last.lift_low <= 0 <= last.lift_high:
        return "unknown", f"Not yet known: {apart} so far"
    return ("better", f"Getting better: {apart}") if last.lift_low > 0 else ("worse", f"Getting worse: {apart}")


def _learning(runs: Mapping[str, Run]) -> str:
    """What the newest run is doing."""
    newest = max(runs.values(), key=lambda run: run.created_at)
    return f"{newest.get_kind_display()}: {newest.get_state_display().lower()}"


def verdict(bot: Bot, membership: Membership) -> dict[str, Any]:
    """Context of training/_lift_panel.html: whether the bot is getting better, and what it needs before it can."""
    found = queries.lift(bot)
    difference, step = found.get("difference"), None
    if found["tone"] == "waiting" and not found.get("arms"):
        step = progress.next_step(bot, bot.organization.slug)
    return found | {
        "interval": drawings.interval(**difference) if difference else None,
        "next": step,
        "may_take_it": step is not None and membership.allows(step.permission),
    }


def needs(slug: str, can: Mapping[str, bool]) -> Iterable[Need]:
    """Runs that failed and alerts of runs that go on, each by its words; datasets that wait for a decision."""
    queries_of = [*(_troubles() if can["run_control"] else []), *([_undecided()] if can["dataset_edit"] else [])]
    if not queries_of:
        return
    first, *others = queries_of
    for what, bot, whose, row, words in first.union(*others, all=True):
        if what == "dataset":
            url = reverse("training:dataset-preview", args=[slug, bot, row])
            yield Need(WAITING, "uploaded", "Dataset", whose, f"“{words}” was looked through: import it, or not", url)
        else:
            url = reverse("training:run-detail", args=[slug, bot, row])
            state, label = TROUBLES[what]
            yield Need(BROKEN, state, label, whose, words.strip().split("\n")[0] or "It ended without a word", url)


def _troubles() -> Iterable[QuerySet[Any]]:
    """Each bot's newest run, if it failed; alerts of runs that go on."""
    later = Run.objects.filter(bot=OuterRef("bot"), created_at__gt=OuterRef("created_at"))
    failed = Run.objects.filter(~Exists(later), state=Run.State.FAILED).order_by()
    yield failed.values_list("kind", "bot_id", "bot__name", "pk", "error")[:MOST_NEEDS]
    alerts = RunEvent.objects.filter(level=RunEvent.Level.ALERT, run__state__in=Run.LIVING).order_by()
    yield alerts.values_list(Value("alert"), "run__bot_id", "run__bot__name", "run_id", "text")[:MOST_NEEDS]


def _undecided() -> QuerySet[Any]:
    waiting = Dataset.objects.filter(state=Dataset.State.UPLOADED).order_by()
    return waiting.values_list(Value("dataset"), "bot_id", "bot__name", "pk", "name")[:MOST_NEEDS]


def own_posts() -> QuerySet[Dataset]:
    """Datasets that somebody brought: all but the demo's."""
    return Dataset.objects.filter(state=Dataset.State.READY).exclude(source=SOURCE)
