"""What the page behind a share link shows of a bot, and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime

from bots.models import Bot, Post
from bots.states import PostState
from training import drawings, progress, queries
from training.models import ModelVersion, Run, ShareLink

ROUNDS = 400
"""The latest ones, in the chart."""
POSTS = 10
MOST_COUNTED = 10_000
WIDTH, HEIGHT = 720.0, 280.0


@dataclass(frozen=True)
class Chart:
    """Mean reward by round, as SVG paths in a box of 720 × 280: the learning arm with its 95 % band, the frozen
    baseline, zero. `labels` stand at equal distances from top to bottom.
    """

    line: str
    band: str
    rest: str
    zero: str
    grid: list[float]
    labels: list[str]
    first: int
    last: int
    words: str
    curves: dict[str, list[drawings.Point]] = field(repr=False)


@dataclass(frozen=True)
class SharedPost:
    text: str
    at: datetime


@dataclass(frozen=True)
class Progress:
    """One bot's progress."""

    name: str
    simulated: bool
    tone: str
    sentence: str
    figures: list[tuple[str, str]]
    chart: Chart | None
    posts: list[SharedPost]

    @property
    def fingerprint(self) -> str:
        """Changes when anything that the card shows does."""
        shown = asdict(self) | {"posts": None}
        return hashlib.sha256(json.dumps(shown, sort_keys=True, default=str).encode()).hexdigest()


def progress_of(link: ShareLink) -> Progress:
    """What a link shows at this moment; within its organization's tenant."""
    bot = Bot.objects.select_related("connection").get(pk=link.bot_id)
    run = Run.objects.filter(bot=bot, kind=Run.Kind.ONLINE).order_by("-created_at").first()
    rounds = progress.latest_rounds([run.pk], ROUNDS)[run.pk] if run else []
    answer = queries.lift(bot)
    return Progress(
        name=bot.name,
        simulated=bot.connection.simulated,
        tone=answer["tone"],
        sentence=answer["sentence"],
        figures=_figures(bot, rounds),
        chart=_chart(rounds),
        posts=_posts(bot) if link.shows_posts else [],
    )


def _figures(bot: Bot, rounds: list[progress.RoundFacts]) -> list[tuple[str, str]]:
    published = Post.objects.filter(bot=bot, state=PostState.PUBLISHED).order_by()[: MOST_COUNTED + 1].count()
    version = ModelVersion.objects.filter(bot=bot, is_current=True).values_list("number", flat=True).first()
    found = [("Published posts", f"{published:,}" if published <= MOST_COUNTED else f"over {MOST_COUNTED:,}")]
    if rounds:
        found.append(("Rounds of learning", f"{rounds[-1].number:,}"))
        if rounds[-1].reward is not None:
            found.append(("Mean reward, sd", drawings.signed(rounds[-1].reward)))
    if version is not None:
        found.append(("Model version", f"v{version}"))
    return found


def _posts(bot: Bot) -> list[SharedPost]:
    latest = Post.objects.filter(bot=bot, kind=Post.Kind.NEW, state=PostState.PUBLISHED).order_by("-published_at")
    return [SharedPost(text, at) for text, at in latest.values_list("text", "published_at")[:POSTS] if text and at]


def _chart(rounds: list[progress.RoundFacts]) -> Chart | None:
    """None before there are two rounds to draw a line between."""
    rewards, baseline = progress.measured(rounds, "reward"), progress.measured(rounds, "baseline")
    if len(rewards) < 2:
        return None
    low, high = progress.measured(rounds, "low"), progress.measured(rounds, "high")
    levels = drawings.ticks(
        min(0.0, *(y for _, y in [*rewards, *baseline, *low])), max(y for _, y in [*rewards, *baseline, *high])
    )
    left, right = rewards[0][0], rewards[-1][0]
    begun, ended = drawings.plain(rewards[0][1]), drawings.plain(rewards[-1][1])
    box = drawings.Frame(WIDTH, HEIGHT, left, right, levels[0], levels[-1])
    return Chart(
        line=box.line(rewards),
        band=box.area(high, low),
        rest=box.line(baseline),
        zero=box.line([(left, 0.0), (right, 0.0)]),
        grid=[round(box.place((left, level))[1], 2) for level in levels],
        labels=[f"{level:g}".replace("-", "−") for level in reversed(levels)],
        first=left,
        last=right,
        words=f"Mean reward of {len(rewards)} rounds: from {begun} to {ended} sd"
        + (f"; the frozen baseline ends at {drawings.plain(baseline[-1][1])}" if baseline else ""),
        curves={"reward": [*rewards], "baseline": [*baseline], "low": [*low], "high": [*high]},
    )
