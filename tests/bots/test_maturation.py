"""The curve of how reactions come in: what it is with no posts, few and many, and that it is always the same."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from accounts import clock
from accounts.tenancy import tenant
from bots import maturation
from bots.maturation import Pair
from bots.models import Bot
from bots.scoring import PRIOR, Curve
from tests.factories import World, make_bot, make_connection, make_observation, make_post

AGES = (15, 60, 180, 480, 1440)


@pytest.fixture
def bot(world: World) -> Iterator[Bot]:
    with tenant(world.acme.pk):
        yield make_bot()


def pairs_of(curve: Curve, posts: int, reactions: int = 60) -> list[Pair]:
    """Readings of posts whose reactions come in by the curve, each at its own moment."""
    chance = random.Random(5)
    found = []
    for _ in range(posts):
        moments = [chance.random() for _ in range(reactions)]
        counts = [sum(moment < curve.exact(age) for moment in moments) for age in AGES]
        readings = list(zip(AGES, counts, strict=True))
        found += [Pair(*early, *late) for early, late in pairwise(readings)]
    return found


def test_the_curve_by_hand() -> None:
    # (160 / 40)^½ = 2 half-lives: three quarters.
    assert Curve(40, 0.5).exact(160) == pytest.approx(0.75)
    assert PRIOR.exact(80) == 0.5
    assert (PRIOR.exact(0), PRIOR.exact(1e9)) == (0, 1)


def test_without_readings_it_is_the_prior() -> None:
    fitted = maturation.fit([])
    assert (fitted.half_life, fitted.shape) == pytest.approx((80, 1))


def test_a_post_without_reactions_tells_nothing() -> None:
    assert maturation.fit([Pair(15, 0, 60, 0)] * 50) == maturation.fit([])


@pytest.mark.parametrize("truth", [Curve(30, 0.7), Curve(80, 0.7), Curve(200, 1.4)])
def test_many_posts_show_their_own_curve(truth: Curve) -> None:
    fitted = maturation.fit(pairs_of(truth, 120))
    assert fitted.half_life == pytest.approx(truth.half_life, rel=0.12)
    assert fitted.shape == pytest.approx(truth.shape, rel=0.12)


def test_few_posts_move_it_a_little_and_more_posts_more() -> None:
    fitted = [maturation.fit(pairs_of(Curve(300, 1.0), posts)).half_life for posts in (0, 1, 4, 40)]
    assert fitted == sorted(fitted)
    assert fitted[1] < 180
    assert fitted[3] > 250


def test_one_viral_post_weighs_no_more_than_ten_reactions() -> None:
    viral = maturation.fit([Pair(60, 100_000, 1440, 1_000_000)])
    small = maturation.fit([Pair(60, 100, 1440, 1000)])
    assert viral.half_life == pytest.approx(small.half_life, rel=0.01)


def test_the_curve_rises_whatever_it_is_told() -> None:
    """Counts that fall, as when likes are taken back, and readings of one age twice."""
    chance = random.Random(3)
    nonsense = [
        Pair(chance.choice(AGES), chance.randrange(50), chance.choice(AGES), chance.randrange(50)) for _ in range(60)
    ]
    fitted = maturation.fit(nonsense)
    shares = [fitted.share(age * 60) for age in range(0, 3000, 7)]
    assert shares == sorted(shares)
    assert all(0.01 <= share <= 1 for share in shares)


def test_a_young_reading_is_noisier_than_a_ripe_one() -> None:
    assert maturation.noise({"likes": 5}, 1.0) == 1
    # 1 + 3 · ½ / (2 + 1)
    assert maturation.noise({"likes": 1, "comments": 1, "impressions": 900}, 0.5) == pytest.approx(1.5)


def test_readings_of_all_bots_on_one_kind_of_face_are_pooled(bot: Bot) -> None:
    other = make_bot(make_connection())
    elsewhere = make_bot(make_connection("mastodon"))
    for one in (bot, other, elsewhere):
        for _ in range(12):
            post = make_post(one, "published", published_at=datetime(2026, 5, 4, tzinfo=UTC))
            slow = 1 if one is not elsewhere else 30
            for number, (minutes, likes) in enumerate(((60, slow), (1440, 30))):
                make_observation(post, number, age_seconds=minutes * 60, metrics={"likes": likes, "impressions": 999})
    assert maturation.curve_for(bot) == maturation.curve_for(other)
    assert maturation.curve_for(bot).posts > maturation.curve_for(elsewhere).posts > 0
    assert maturation.curve_for(bot).half_life > PRIOR.half_life > maturation.curve_for(elsewhere).half_life
    points = maturation.maturity_curve(bot)
    assert [age for age, _ in points] == bot.reading_ages
    assert points[1][1] == maturation.curve_for(bot).share(3600)


def test_another_organizations_readings_are_not_used(bot: Bot, world: World) -> None:
    with tenant(world.globex.pk):
        theirs = make_bot()
        for _ in range(8):
            post = make_post(theirs, "published")
            make_observation(post, 0, age_seconds=900, metrics={"likes": 9})
            make_observation(post, 1, age_seconds=86_400, metrics={"likes": 9})
        assert maturation.curve_for(theirs).posts > 0
    assert maturation.curve_for(bot) == maturation.fit([])


def test_the_curve_stays_until_there_are_a_quarter_more_readings(bot: Bot) -> None:
    assert [maturation._milestone(count) for count in (0, 1, 2, 5, 6, 8, 9, 11, 12)] == [
        0, 1, 2, 5, 5, 7, 9, 9, 12,
    ]  # fmt: skip
    for _ in range(4):
        post = make_post(bot, "published")
        make_observation(post, 0, age_seconds=900, metrics={"likes": 9})
        make_observation(post, 1, age_seconds=86_400, metrics={"likes": 9})
    slow = [make_post(bot, "published") for _ in range(2)]
    make_observation(slow[0], 0, age_seconds=900, metrics={"likes": 0})
    before = maturation.curve_for(bot)
    for post, number, likes in ((slow[0], 1, 90), (slow[1], 0, 0)):
        make_observation(post, number, age_seconds=900 + 85_500 * number, metrics={"likes": likes})
        assert maturation.curve_for(bot) == before
    make_observation(slow[1], 1, age_seconds=86_400, metrics={"likes": 90})
    assert maturation.curve_for(bot).share(900) < before.share(900)


def test_with_many_readings_the_curve_is_that_of_the_newest_before_today(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maturation, "MANY_READINGS", 8)
    monkeypatch.setattr(maturation, "MOST_READINGS", 8)
    start = datetime(2026, 5, 4, 12, tzinfo=UTC)
    for likes, days in ((29, -9), (1, -1), (29, 0)):  # quick, slow, quick
        for _ in range(4):
            post = make_post(bot, "published")
            at = start + timedelta(days=days)
            make_observation(post, 0, age_seconds=7200, metrics={"likes": likes}, observed_at=at)
            make_observation(post, 1, age_seconds=86_400, metrics={"likes": 30}, observed_at=at)
    with clock.simulated(start) as time:
        assert maturation.curve_for(bot).half_life > PRIOR.half_life
        time.advance(timedelta(days=1))
        assert maturation.curve_for(bot).half_life < PRIOR.half_life


def test_many_readings_are_those_of_all_kinds_of_faces_and_a_curve_is_of_its_own(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maturation, "MANY_READINGS", 8)
    start = datetime(2026, 5, 4, 12, tzinfo=UTC)
    elsewhere = make_bot(make_connection("mastodon"))
    for one, likes in ((bot, 29), (bot, 29), (elsewhere, 1), (elsewhere, 1)):
        post = make_post(one, "published")
        make_observation(post, 0, age_seconds=7200, metrics={"likes": likes}, observed_at=start)
        make_observation(post, 1, age_seconds=86_400, metrics={"likes": 30}, observed_at=start)
    with clock.simulated(start) as time:
        assert maturation.curve_for(elsewhere) == maturation.fit([])
        time.advance(timedelta(days=1))
        assert maturation.curve_for(elsewhere).half_life > PRIOR.half_life > maturation.curve_for(bot).half_life


def test_logarithms_of_early_readings_are_right_on_average_once_the_curve_is_known() -> None:
    """What the curve is for: a slow platform's posts are not underrated for being young."""
    truth = Curve(300, 1.0)
    fitted = maturation.fit(pairs_of(truth, 60))
    assert (
        abs(math.log(truth.share(3600) / fitted.share(3600)))
        < 0.1
        < abs(math.log(truth.share(3600) / PRIOR.share(3600)))
    )
