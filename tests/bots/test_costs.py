"""What a bot will cost is told before it is spent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from accounts import clock
from accounts.tenancy import tenant
from bots import costs
from faces.registry import FACES
from tests.factories import World, make_bot, make_connection, make_post, make_schedule
from tests.fake_platform import FakePlatform, StubKind, fake_face


def test_posts_and_readings_of_an_average_day(
    world: World, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = fake_face(platform)
    monkeypatch.setattr(face, "price", lambda self, post: 200_000 if "https://" in post.text else 15_000)
    monkeypatch.setattr(face, "read_price", lambda self, remote_ids: 5_000 * len(remote_ids))
    monkeypatch.setitem(FACES, "fake", StubKind(face))
    with tenant(world.acme.pk), clock.simulated(datetime(2026, 5, 4, 8, 0, tzinfo=UTC)):
        bot = make_bot(make_connection("fake"), reading_ages=[15, 60, 1440, 2880], reward_age=1440)
        make_schedule(bot, kind="cron", cron="0 9,23 * * *", zone="UTC")
        make_post(bot, text="Plain")
        make_post(bot, text="See https://kilroy.example")
        day = costs.forecast(bot)
    assert day.posts == 2
    assert day.publishing == pytest.approx(2 * (0.2 + 0.015) / 2)
    # At nine o'clock the four ages fall on three days; at eleven at night an hour later is another day: 23:15, 0:00.
    assert day.readings == 6
    assert day.total == pytest.approx(0.215 + 6 * 0.005)


def test_the_cap_of_posts_per_day_counts_and_free_platforms_cost_nothing(world: World) -> None:
    with tenant(world.acme.pk), clock.simulated(datetime(2026, 5, 4, 0, 0, tzinfo=UTC)):
        bot = make_bot(posts_per_day=3)
        make_schedule(bot, kind="interval", interval_seconds=3600)
        day = costs.forecast(bot)
    assert day.posts == pytest.approx(3, abs=0.5)
    assert day.total == 0
