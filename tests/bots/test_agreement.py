"""Agreement of people with the reward model and the audience, against hand-worked numbers."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.tenancy import tenant
from bots import agreement
from bots.agreement import compare, interval
from bots.models import Bot
from tests.factories import World, make_bot, make_decision, make_post, make_reward


@pytest.fixture
def bot(world: World) -> Any:
    with tenant(world.acme.pk):
        yield make_bot()


@pytest.mark.parametrize(
    ("better", "worse", "auc"),
    [
        ([2.0] * 10, [1.0] * 10, 1.0),
        ([1.0] * 10, [2.0] * 10, 0.0),
        ([1.0] * 10, [1.0] * 10, 0.5),
        # Of 100 pairs: 5·10 won by the twos, 5·10 tied by the ones.
        ([2.0] * 5 + [1.0] * 5, [1.0] * 10, 0.75),
    ],
)
def test_the_share_of_pairs(better: list[float], worse: list[float], auc: float) -> None:
    assert compare(better, worse).auc == auc


def test_too_few_say_nothing() -> None:
    found = compare([1.0] * 9, [0.0] * 50)
    assert (found.auc, found.pairs, found.known, found.share) == (None, 450, False, "")


def test_the_interval_is_where_the_distance_is_so_many_deviations() -> None:
    low, high = interval(0.75, 20, 30)
    for theta in (low, high):
        spread = 1 + 24 * (1 - theta) / (2 - theta) + 24 * theta / (1 + theta)
        variance = theta * (1 - theta) * spread / 600
        assert abs(0.75 - theta) == pytest.approx(1.959964 * variance**0.5, abs=1e-6)
    assert low < 0.75 < high


def test_a_perfect_relation_of_few_is_not_certain() -> None:
    found = compare([2.0] * 10, [1.0] * 10)
    assert found.high == pytest.approx(1.0)
    assert found.low is not None
    assert 0.6 < found.low < 0.9
    assert found.known


def test_decisions_are_compared_with_predictions_and_rewards(bot: Bot) -> None:
    for number in range(10):
        liked = make_post(bot, "published", arm="learning", provenance={"predicted": 1.0 + number})
        make_decision(liked)
        make_reward(liked, value=1.0)
        make_decision(make_post(bot, "declined", arm="learning", provenance={"predicted": 0.5}), "declined")
        rewritten = make_post(bot, "published", arm="baseline", provenance={"predicted": 0.0})
        make_decision(rewritten, "edited", original_text="Before")
        make_decision(rewritten)
        make_reward(rewritten, value=5.0)
    for fields in ({"arm": "human"}, {"arm": "learning", "kind": "reply", "reply_to": "1"}):
        make_decision(make_post(bot, "declined", provenance={"predicted": 99.0}, **fields), "declined")
    make_decision(make_post(bot, "declined", arm="learning"), "declined")  # nothing was predicted
    found = agreement.agreement(bot)
    assert (found.model.better, found.model.worse, found.model.auc) == (10, 20, 1.0)
    assert (found.audience.better, found.audience.worse, found.audience.auc) == (10, 10, 1.0)


def test_a_bot_without_decisions(bot: Bot) -> None:
    found = agreement.agreement(bot)
    assert (found.model.pairs, found.audience.auc) == (0, None)
