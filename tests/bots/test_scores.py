"""From a published post to its readings, and from a reading to a reward."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import clock
from accounts.clock import SimulatedClock
from accounts.tenancy import tenant
from bots import maturation, queries, scoring, tasks, toxicity
from bots.models import Bot, Post, Reward, ScoreObservation
from bots.services import delivery, scores
from faces.contract import FaceError, Reading
from faces.models import Connection
from faces.registry import FACES
from tests.factories import World, make_bot, make_connection, make_post
from tests.fake_platform import FakePlatform, StubKind, fake_face

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> FakePlatform:
    platform = FakePlatform()
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(platform, simulated=True)))
    return platform


@pytest.fixture
def time() -> Iterator[SimulatedClock]:
    with clock.simulated(START) as running:
        yield running


@pytest.fixture
def bot(world: World, platform: FakePlatform, time: SimulatedClock) -> Iterator[Bot]:
    with tenant(world.acme.pk):
        yield make_bot(make_connection("fake"), reading_ages=[15, 60, 120], reward_age=60)


def _published(bot: Bot, remote_id: str = "p1") -> Post:
    return make_post(
        bot, "published", remote_id=remote_id, published_at=START, next_reading_at=START + timedelta(minutes=15)
    )


def _reads(platform: FakePlatform, likes: int, followers: int | None = 100) -> None:
    platform.readings = {"p1": Reading({"likes": likes}, followers)}


def test_reactions_are_read_at_each_age_and_the_reward_is_given_at_its_own(
    bot: Bot, platform: FakePlatform, time: SimulatedClock
) -> None:
    post = _published(bot)
    rewarded = []
    for minutes, likes in ((15, 3), (45, 8), (60, 9)):
        assert scores.read_due_scores() == 0
        time.advance(timedelta(minutes=minutes))
        _reads(platform, likes)
        assert scores.read_due_scores() == 1
        rewarded.append(Reward.objects.filter(post=post).exists())
    found = ScoreObservation.objects.filter(post=post)
    assert [(o.number, o.age_seconds, o.metrics, o.followers, o.simulated) for o in found] == [
        (0, 900, {"likes": 3}, 100, True),
        (1, 3600, {"likes": 8}, 100, True),
        (2, 7200, {"likes": 9}, 100, True),
    ]
    assert rewarded == [False, True, True]
    post.refresh_from_db()
    assert (post.readings_due, post.next_reading_at) == (3, None)


def test_the_reward_is_the_formulas_value_on_the_reading(
    bot: Bot, platform: FakePlatform, time: SimulatedClock
) -> None:
    post = _published(bot)
    Post.objects.update(next_reading_at=START + timedelta(minutes=60))
    time.advance(timedelta(minutes=60))
    _reads(platform, 8)
    scores.read_due_scores()
    reward = Reward.objects.get(post=post)
    assert reward.value == pytest.approx(scoring.evaluate(bot.score_formula, {"likes": 8}, 100, 3600))
    assert (reward.formula, reward.observation.number) == (bot.score_formula, 1)


def test_reading_twice_changes_nothing(bot: Bot, platform: FakePlatform, time: SimulatedClock) -> None:
    _published(bot)
    time.advance(timedelta(minutes=15))
    _reads(platform, 3)
    tasks.read_due_scores()
    tasks.read_due_scores()
    assert ScoreObservation.objects.count() == 1


def test_after_a_long_sleep_one_reading_is_made_and_not_several(
    bot: Bot, platform: FakePlatform, time: SimulatedClock
) -> None:
    """What the platform says now is no reading of the age that was slept through."""
    post = _published(bot)
    time.advance(timedelta(minutes=90))
    _reads(platform, 8)
    assert scores.read_due_scores() == 1
    assert [(o.number, o.age_seconds) for o in ScoreObservation.objects.filter(post=post)] == [(1, 5400)]
    assert Reward.objects.filter(post=post).exists()
    post.refresh_from_db()
    assert post.next_reading_at == START + timedelta(minutes=120)


def test_a_platform_that_cannot_be_asked_is_asked_again_a_minute_later(
    bot: Bot, platform: FakePlatform, time: SimulatedClock
) -> None:
    _published(bot)
    time.advance(timedelta(minutes=15))
    platform.readings = FaceError("down", permanent=False)
    assert scores.read_due_scores() == 0
    _reads(platform, 3)
    assert scores.read_due_scores() == 0
    time.advance(scores.RETRY)
    assert scores.read_due_scores() == 1


def test_one_connections_trouble_does_not_keep_others_from_being_read(
    bot: Bot, platform: FakePlatform, time: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = FakePlatform(readings=FaceError("down", permanent=False))
    monkeypatch.setitem(FACES, "broken", StubKind(fake_face(broken)))
    other = make_bot(make_connection("broken"))
    make_post(other, "published", published_at=START, next_reading_at=START)
    _published(bot)
    time.advance(timedelta(minutes=15))
    _reads(platform, 3)
    assert scores.read_due_scores() == 1


def test_a_bug_in_one_face_does_not_keep_others_from_being_read(
    bot: Bot, platform: FakePlatform, time: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = FakePlatform(readings=None)  # type: ignore[arg-type]
    monkeypatch.setitem(FACES, "broken", StubKind(fake_face(broken)))
    other = make_bot(make_connection("broken"))
    make_post(other, "published", published_at=START, next_reading_at=START)
    _published(bot)
    time.advance(timedelta(minutes=15))
    _reads(platform, 3)
    assert scores.read_due_scores() == 1


def test_a_post_that_is_gone_is_not_read_again(bot: Bot, platform: FakePlatform, time: SimulatedClock) -> None:
    post = _published(bot)
    time.advance(timedelta(minutes=15))
    platform.readings = {"p1": None}
    scores.read_due_scores()
    post.refresh_from_db()
    assert post.next_reading_at is None
    assert not ScoreObservation.objects.exists()


def test_what_the_platform_does_not_give_is_missing_and_gives_no_reward(
    bot: Bot, platform: FakePlatform, time: SimulatedClock
) -> None:
    post = _published(bot)
    time.advance(timedelta(minutes=60))
    platform.readings = {"p1": Reading({}, 100)}
    assert scores.read_due_scores() == 1
    assert ScoreObservation.objects.get(post=post).metrics == {}
    assert not Reward.objects.exists()
    _reads(platform, 5, followers=None)
    time.advance(timedelta(minutes=60))
    scores.read_due_scores()
    assert ScoreObservation.objects.latest("number").followers is None
    assert not Reward.objects.exists()


def test_a_fast_platforms_clock_is_the_one_that_counts(
    world: World, platform: FakePlatform, time: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = fake_face(platform)
    monkeypatch.setattr(face, "clock_speed", lambda self: 60.0)
    monkeypatch.setitem(FACES, "fake", StubKind(face))
    with tenant(world.acme.pk):
        bot = make_bot(make_connection("fake"), reading_ages=[15, 60], reward_age=60)
        post = make_post(bot, "published", remote_id="p1", published_at=START, next_reading_at=START)
        time.advance(timedelta(seconds=15))
        _reads(platform, 3)
        scores.read_due_scores()
        assert ScoreObservation.objects.get(post=post).age_seconds == 900
        post.refresh_from_db()
        assert post.next_reading_at == START + timedelta(seconds=60)


def test_from_publishing_to_the_reward(bot: Bot, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way, by the services that the workers call."""
    post = make_post(bot, "queued")
    delivery.deliver_post(post.pk)
    post.refresh_from_db()
    assert post.published_at is not None
    with clock.simulated(post.published_at) as time:
        for _ in range(3):
            platform.readings = {"fake-1": Reading({"likes": 4}, 100)}
            time.advance(timedelta(minutes=60))
            scores.read_due_scores()
    curve = maturation.curve_for(bot)
    assert Reward.objects.get(post=post).value == pytest.approx(
        scoring.evaluate(bot.score_formula, {"likes": 4}, 100, 7200, curve=curve)
    )


def test_the_rewards_provenance_says_what_went_into_it(bot: Bot, platform: FakePlatform, time: SimulatedClock) -> None:
    """With it, the observation and the formula, the reward can be computed again."""
    post = make_post(
        bot,
        "published",
        "What a stupid idea",
        remote_id="p1",
        published_at=START,
        next_reading_at=START + timedelta(minutes=60),
        provenance={"predicted": 0.5},
    )
    Bot.objects.update(score_formula="log1p(likes) + penalty(toxicity, 0.3, 0.5)")
    time.advance(timedelta(minutes=60))
    _reads(platform, 8)
    scores.read_due_scores()
    post.refresh_from_db()
    noted, reward = post.provenance["reward"], Reward.objects.get(post=post)
    assert post.provenance["predicted"] == 0.5
    assert noted["share"] == pytest.approx(1 - 2**-0.75)
    assert noted["noise"] == pytest.approx(1 + 3 * 2**-0.75 / 9)
    assert noted["toxicity"] == pytest.approx(1 - math.exp(-0.3))
    assert reward.value == pytest.approx(
        scoring.evaluate(
            reward.formula,
            reward.observation.metrics,
            reward.observation.followers,
            reward.observation.age_seconds,
            toxicity=noted["toxicity"],
            curve=scoring.Curve(noted["half_life"], noted["shape"]),
        )
    )


def test_what_was_measured_while_the_post_was_written_counts_where_it_is_worse(bot: Bot) -> None:
    harmless, measured = make_post(bot, text="Good morning"), make_post(bot, provenance={"toxicity": 0.7})
    insult = make_post(bot, text="You are vermin", provenance={"toxicity": 0.1})
    assert [toxicity.of(post) for post in (harmless, measured)] == [0.0, 0.7]
    assert toxicity.of(insult) == toxicity.lexicon("You are vermin") == pytest.approx(1 - math.exp(-1))


def test_a_missing_reward_says_why_in_words(bot: Bot, platform: FakePlatform, time: SimulatedClock) -> None:
    post = _published(bot)
    time.advance(timedelta(minutes=60))
    _reads(platform, 5, followers=None)
    scores.read_due_scores()
    post.refresh_from_db()
    reason = post.provenance["reward"]["missing"]
    assert "There is no value “followers” here: the platform did not give it." in reason
    assert bot.score_formula in reason
    assert queries.post_card(bot, post, "acme")["reward_missing"] == reason


def test_an_account_without_followers_still_has_rewards(bot: Bot, platform: FakePlatform, time: SimulatedClock) -> None:
    """0 followers are known and not missing: somebody can see the post all the same."""
    post = _published(bot)
    time.advance(timedelta(minutes=60))
    _reads(platform, 0, followers=0)
    scores.read_due_scores()
    assert Reward.objects.get(post=post).value == 0.0


def test_a_post_that_was_gone_before_its_reward_never_gets_one(
    bot: Bot, platform: FakePlatform, time: SimulatedClock
) -> None:
    post = _published(bot)
    for minutes, reading in ((15, Reading({"likes": 3}, 100)), (45, None)):
        time.advance(timedelta(minutes=minutes))
        platform.readings = {"p1": reading}
        scores.read_due_scores()
    post.refresh_from_db()
    assert (post.state, post.next_reading_at) == ("published", None)
    assert post.provenance["reward"] == {
        "missing": "The post was gone from the platform before its reactions could count as its reward."
    }
    assert not Reward.objects.exists()
    assert ScoreObservation.objects.count() == 1


def test_a_post_that_is_gone_after_its_reward_keeps_it(bot: Bot, platform: FakePlatform, time: SimulatedClock) -> None:
    post = _published(bot)
    for minutes, reading in ((60, Reading({"likes": 3}, 100)), (60, None)):
        time.advance(timedelta(minutes=minutes))
        platform.readings = {"p1": reading}
        scores.read_due_scores()
    post.refresh_from_db()
    assert post.next_reading_at is None
    assert "missing" not in post.provenance["reward"]
    assert Reward.objects.get(post=post).observation.metrics == {"likes": 3}


def test_reactions_that_arrive_after_the_post_was_taken_down_come_too_late(
    bot: Bot, platform: FakePlatform, time: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = _published(bot)

    def read_while_it_is_taken_down(self: object, remote_ids: list[str]) -> dict[str, Reading]:
        delivery.take_down_post(post.pk)
        return {"p1": Reading({"likes": 8}, 100)}

    monkeypatch.setattr(FACES["fake"].load(), "metrics", read_while_it_is_taken_down)
    time.advance(timedelta(minutes=60))
    scores.read_due_scores()
    post.refresh_from_db()
    assert (post.state, post.next_reading_at) == ("deleted", None)
    assert not ScoreObservation.objects.exists()
    assert not Reward.objects.exists()
    assert queries.post_card(bot, post, "acme")["reward_missing"] == (
        "The post was taken down before its reactions could count as its reward."
    )


def test_a_post_that_is_taken_down_after_its_reward_keeps_it(
    bot: Bot, platform: FakePlatform, time: SimulatedClock
) -> None:
    post = _published(bot)
    time.advance(timedelta(minutes=60))
    _reads(platform, 3)
    scores.read_due_scores()
    delivery.take_down_post(post.pk)
    post.refresh_from_db()
    assert post.state == "deleted"
    assert "half_life" in post.provenance["reward"]
    assert Reward.objects.get(post=post).observation.metrics == {"likes": 3}
    assert queries.post_card(bot, post, "acme")["reward_missing"] == ""


def test_a_formulas_reason_stands_after_the_post_is_taken_down(
    bot: Bot, platform: FakePlatform, time: SimulatedClock
) -> None:
    post = _published(bot)
    time.advance(timedelta(minutes=60))
    _reads(platform, 5, followers=None)
    scores.read_due_scores()
    delivery.take_down_post(post.pk)
    assert "no value “followers”" in Post.objects.get(pk=post.pk).provenance["reward"]["missing"]


def test_a_formula_that_no_longer_works_keeps_the_reading(
    bot: Bot, platform: FakePlatform, time: SimulatedClock, caplog: Any
) -> None:
    Bot.objects.update(score_formula="log(likes)")
    post = _published(bot)
    time.advance(timedelta(minutes=60))
    _reads(platform, 0)
    scores.read_due_scores()
    assert ScoreObservation.objects.filter(post=post).count() == 1
    assert not Reward.objects.exists()
    assert "no reward" in caplog.text


def test_readings_that_give_rewards_come_first_and_the_rest_wait_for_the_next_days_budget(
    world: World, platform: FakePlatform, time: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = fake_face(platform)
    monkeypatch.setattr(face, "read_price", lambda self, remote_ids: 5_000 * len(remote_ids))
    monkeypatch.setattr(face, "price", lambda self, post: 15_000)
    monkeypatch.setitem(FACES, "fake", StubKind(face))
    with tenant(world.acme.pk):
        bot = make_bot(make_connection("fake"), reading_ages=[15, 60], reward_age=60)
        Connection.objects.update(daily_budget="0.02")  # one post yet to come, and one reading
        make_post(bot, "scheduled", slot_utc=START + timedelta(hours=1))
        early = {"published_at": START, "next_reading_at": START}
        young = make_post(bot, "published", remote_id="young", **early)
        old = make_post(bot, "published", remote_id="old", readings_due=1, **early)
        time.advance(timedelta(hours=2))
        platform.readings = {name: Reading({"likes": 1}) for name in ("young", "old")}
        assert scores.read_due_scores() == 1
        old.refresh_from_db()
        young.refresh_from_db()
        assert old.observations.count() == 1
        assert young.observations.count() == 0
        assert young.next_reading_at == datetime(2026, 5, 5, tzinfo=UTC)
