"""Hours that did well, against hand-worked numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import sqrt
from typing import Any

import pytest

from accounts.tenancy import tenant
from bots import best_hours
from bots.best_hours import judge
from bots.models import Bot
from tests.factories import World, client_of, make_bot, make_post, make_reward, make_schedule

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def rows(*groups: tuple[int, list[float]]) -> list[tuple[datetime, float]]:
    """(hour, rewards): one post a day at that hour."""
    return [
        (MONDAY + timedelta(days=day, hours=hour), reward) for hour, found in groups for day, reward in enumerate(found)
    ]


def test_an_hours_effect_is_its_mean_drawn_towards_that_of_all() -> None:
    """Rewards of 16 × ±1 at nine (mean 0) and of 16 × 1 ± 1 at six: median 1 and MAD 1."""
    nine, six = [-1.0, 1.0] * 8, [0.0, 2.0] * 8
    found = judge(rows((9, nine), (18, six)), "UTC", 1)
    # The two middle values are 0 and 1, and every reward is .5 or 1.5 from .5: the MAD is 1. The means of the hours
    # are 0 and 1, that of all is .5.
    unit = 1.4826
    at_nine, at_six = found.hours
    assert (at_nine.at, at_six.at, at_nine.posts, at_six.posts) == (9, 18, 16, 16)
    assert at_six.value == pytest.approx(0.5 / unit * 16 / 24)
    assert at_nine.value == pytest.approx(-0.5 / unit * 16 / 24)
    within = sqrt(32 / 30) / unit  # every reward is 1 from the mean of its hour
    assert at_six.high - at_six.value == pytest.approx(1.959964 * within / sqrt(24))
    assert at_six.spread == pytest.approx(sqrt(16 / 15) / unit)
    assert [effect.at for effect in found.best] == [18]
    assert found.timetable[:2] == ["mon 18:00", "tue 18:00"]
    assert len(found.timetable) == 7


def test_two_lucky_posts_make_no_best_hour() -> None:
    steady = [1.0, 3.0] * 10
    found = judge(rows((9, [-1.0, 1.0] * 10), (18, steady), (3, [100.0, 100.0])), "UTC", 2)
    assert [effect.at for effect in found.best] == [18]
    assert found.hours[0].at == 3


def test_too_few_posts_say_nothing() -> None:
    found = judge(rows((9, [1.0] * 14), (18, [2.0] * 15)), "UTC", 1)
    assert (found.best, found.posts) == ((), 29)
    assert found.why_not == "Not yet known: 30 posts with a reward are needed, 1 more."


@pytest.mark.parametrize(
    ("groups", "words"),
    [([(9, [1.0] * 40), (10, [1.0] * 40)], "the same reward"), ([(9, [1.0, 2.0] * 20)], "the same hour")],
)
def test_where_nothing_differs_nothing_is_suggested(groups: Any, words: str) -> None:
    found = judge(rows(*groups), "UTC", 3)
    assert words in found.why_not
    assert found.timetable == []


def test_hours_are_those_of_the_time_zone_summer_time_included() -> None:
    """Sent at 18 in Warsaw all year: 17 UTC in winter, 16 UTC in summer."""
    winter = [(datetime(2026, 1, day, 17, tzinfo=UTC), day % 2 + 2.0) for day in range(1, 16)]
    summer = [(datetime(2026, 7, day, 16, tzinfo=UTC), day % 2 + 2.0) for day in range(1, 16)]
    morning = [(datetime(2026, 7, day, 5, tzinfo=UTC), day % 2 + 0.0) for day in range(1, 16)]
    found = judge(winter + summer + morning, "Europe/Warsaw", 2)
    assert [(effect.at, effect.posts) for effect in found.hours] == [(7, 15), (18, 30)]
    assert [effect.at for effect in found.best] == [18]


@pytest.fixture
def bot(world: World) -> Any:
    with tenant(world.acme.pk):
        bot = make_bot()
        for moment, reward in rows((9, [-1.0, 1.0] * 8), (18, [0.0, 2.0] * 8), (20, [1.0, 3.0] * 8)):
            make_reward(make_post(bot, "published", published_at=moment), value=reward)
        yield bot


def test_as_many_hours_as_the_schedule_has_posts_a_day(bot: Bot) -> None:
    assert [effect.at for effect in best_hours.suggest(bot, "UTC").best] == [20]
    make_schedule(bot, cron="0 6,7,8 * * *")
    found = best_hours.suggest(bot, "UTC")
    assert found.posts == 48
    assert all(earlier.at < later.at for earlier, later in pairwise(found.best))
    assert 20 in [effect.at for effect in found.best]
    assert all(effect.value > 0 for effect in found.best)


def test_the_api_suggests_them(world: World, bot: Bot) -> None:
    address, alice = "/api/v1/organizations/acme/schedules/best-hours/", client_of(world.alice)
    told = alice.get(f"{address}?bot={bot.pk}&zone=Asia/Tokyo").json()
    assert (told["zone"], told["posts"], [effect["at"] for effect in told["best"]]) == ("Asia/Tokyo", 48, [5])
    assert told["timetable"][0] == "mon 05:00"
    assert alice.get(address).status_code == 400
    assert alice.get(f"{address}?bot={bot.pk}&zone=Mars").status_code == 400
