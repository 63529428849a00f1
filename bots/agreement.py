"""Whether people's decisions agree with the reward model, and with the audience.

Declined posts have no audience: what it would have said of them, nobody knows. So two questions are asked instead that
have an answer. Does the reward model expect more of the posts that people let through as they were than of those that
they declined or rewrote? And does the audience like the posts that people rewrote better than those they did not? The
second compares different posts, of which people chose those to rewrite.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from bots.models import Bot, Decision, Post
from bots.states import PostState

FEWEST = 10
"""Posts on either side, below which nothing is said."""
NEWEST = 300
"""Of the bot's posts in each state, so many are looked at."""
Z = 1.959964
"""Two-sided 95 % of the standard normal."""


@dataclass(frozen=True)
class Comparison:
    """How often a post of the first kind (`better` of them) has the higher number than one of the second (`worse`), of
    all pairs: 0.5 is no relation, 1 a perfect one. None where there are fewer than `FEWEST` on a side.
    """

    better: int
    worse: int
    auc: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def pairs(self) -> int:
        return self.better * self.worse

    @property
    def share(self) -> str:
        """The share of pairs in words; "" where it is not known."""
        return "" if self.auc is None else f"{self.auc:.0%}"

    @property
    def between(self) -> str:
        return "" if self.low is None or self.high is None else f"{self.low:.0%} to {self.high:.0%}"

    @property
    def known(self) -> bool:
        """Whether chance alone is an unlikely explanation: 0.5 is outside the interval."""
        return self.low is not None and self.high is not None and not self.low <= 0.5 <= self.high


@dataclass(frozen=True)
class Agreement:
    """`model`: predictions of posts approved as they were against those declined or rewritten. `audience`: rewards of
    posts that were rewritten against those approved as they were.
    """

    model: Comparison
    audience: Comparison


def compare(better: Sequence[float], worse: Sequence[float]) -> Comparison:
    """The area under the ROC curve, (pairs won + ½ pairs tied) / pairs, with its 95 % interval by Newcombe's method 5
    (Statistics in Medicine 25:559, 2006), which is of use at 0 and 1 as well.
    """
    if len(better) < FEWEST or len(worse) < FEWEST:
        return Comparison(len(better), len(worse))
    ranked = sorted(worse)
    won = sum(bisect_left(ranked, value) + bisect_right(ranked, value) for value in better) / 2
    auc = won / (len(better) * len(worse))
    low, high = interval(auc, len(better), len(worse))
    return Comparison(len(better), len(worse), auc, low, high)


def interval(auc: float, better: int, worse: int) -> tuple[float, float]:
    """The θ with |auc − θ| = z √V(θ), where V(θ) = θ(1 − θ) (1 + N(1 − θ)/(2 − θ) + Nθ/(1 + θ)) / (m n) and
    N = (m + n)/2 − 1 for samples of m and n.
    """
    many = (better + worse) / 2 - 1

    def off(theta: float) -> float:
        spread = 1 + many * (1 - theta) / (2 - theta) + many * theta / (1 + theta)
        return abs(auc - theta) - Z * math.sqrt(theta * (1 - theta) * spread / (better * worse))

    return _root(off, 0.0, auc), _root(off, 1.0, auc)


def _root(off: Callable[[float], float], outside: float, inside: float) -> float:
    """Where `off` is 0 between a place where it is at least 0 and one where it is at most 0, by halving."""
    for _ in range(50):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if off(middle) > 0 else (outside, middle)
    return (outside + inside) / 2


def agreement(bot: Bot) -> Agreement:
    """How the newest decisions of people agree with the bot's reward model and its audience."""
    found = _decided(bot)
    choices: dict[UUID, set[str]] = {}
    for post, choice in Decision.objects.filter(post__in=list(found)).values_list("post", "choice"):
        choices.setdefault(post, set()).add(choice)
    as_it_was, changed = _sides(found, choices, PREDICTED)
    untouched, rewritten = _sides(found, {post: made for post, made in choices.items() if _approved(made)}, REWARD)
    return Agreement(compare(as_it_was, changed), compare(rewritten, untouched))


PREDICTED, REWARD = 0, 1
_Values = tuple[float | None, float | None]


def _sides(found: dict[UUID, _Values], choices: dict[UUID, set[str]], which: int) -> tuple[list[float], list[float]]:
    """A value of the posts that were approved as they were, and of the others, where it is known."""
    sides: tuple[list[float], list[float]] = ([], [])
    for post, made in choices.items():
        value = found[post][which]
        if value is not None:
            sides[made != {Decision.Choice.APPROVED}].append(value)
    return sides


def _approved(made: set[str]) -> bool:
    return Decision.Choice.APPROVED in made and Decision.Choice.DECLINED not in made


def _decided(bot: Bot) -> dict[UUID, _Values]:
    """Prediction and reward of the newest posts that the bot's models wrote, of each state that a decision leads to."""
    states = (PostState.DECLINED, PostState.APPROVED, PostState.SCHEDULED, PostState.PUBLISHED)
    newest = [
        Post.objects.filter(bot=bot, state=state).order_by("-created_at").values("pk")[:NEWEST] for state in states
    ]
    rows = (
        Post.objects.filter(pk__in=newest[0].union(*newest[1:], all=True), kind=Post.Kind.NEW)
        .exclude(arm=Post.Arm.HUMAN)
        .values_list("pk", "provenance__predicted", "reward__value")
    )
    return {pk: (predicted if isinstance(predicted, int | float) else None, reward) for pk, predicted, reward in rows}
