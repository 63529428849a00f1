"""Moderation, kinds of connections, previews of schedules and costs over the API."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.tenancy import tenant
from bots.models import Bot, Schedule
from tests.api.client import Api
from tests.everything import Everything
from tests.factories import World, make_post


def test_the_rules_of_a_bot_and_what_they_are_set_to(made: Everything, api: Api) -> None:
    body = api("get", f"moderation/{made.bot.pk}/")[1]
    rules = {rule["rule"]: rule for rule in body["rules"]}
    assert (body["bot"], body["approval"]) == (str(made.bot.pk), made.bot.approval)
    assert rules["blocklist"]["settings"] == {"blocklist": ["forbidden"]}
    assert rules["length"]["settings"]["max_length"] == made.bot.connection.capabilities.max_length


@pytest.mark.parametrize(
    ("text", "value", "rule"),
    [
        ("All is well", "pass", None),
        ("A forbidden word", "block", "blocklist"),
        ("Already said", "block", "repetition"),
    ],
)
def test_a_text_is_checked_and_not_kept(
    world: World, made: Everything, api: Api, text: str, value: str, rule: str | None
) -> None:
    with tenant(world.acme.pk):
        make_post(made.bot, "published", text="Already said")
        before = made.bot.posts.count()
    status, body, lines = api("post", f"moderation/{made.bot.pk}/check/", {"text": text})
    assert (status, body["value"], body["length"], body["excess"], lines) == (200, value, len(text), 0, [])
    assert [verdict["rule"] for verdict in body["verdicts"] if verdict["value"] == "block"] == [rule] * (
        rule is not None
    )
    with tenant(world.acme.pk):
        assert made.bot.posts.count() == before


def test_a_models_text_is_compared_with_what_it_learned(made: Everything, api: Api) -> None:
    body = api("post", f"moderation/{made.bot.pk}/check/", {"text": "All is well", "arm": "learning"})[1]
    found = {verdict["rule"]: verdict["value"] for verdict in body["verdicts"]}
    assert found["memorisation"] == "flag"  # nothing is known of it: a person looks


def test_what_can_be_connected_and_what_it_asks_for(api: Api) -> None:
    kinds = {kind["kind"]: kind for kind in api("get", "connections/kinds/")[1]}
    assert {"sandbox", "mastodon", "bluesky", "telegram"} <= set(kinds)
    mastodon = {field["name"]: field for field in kinds["mastodon"]["settings"]}
    assert (kinds["mastodon"]["consent"], mastodon["access_token"]["secret"]) == (True, True)
    assert mastodon["visibility"]["choices"] == ["public", "unlisted", "private"]
    telegram = {field["name"]: field for field in kinds["telegram"]["settings"]}
    assert [name for name, field in telegram.items() if field["secret"] and not field["required"]] == []


def test_a_schedule_is_previewed_and_not_kept(world: World, api: Api, bot: Bot) -> None:
    rule: dict[str, Any] = {"bot": str(bot.pk), "kind": "interval", "interval_seconds": 3600}
    status, body, lines = api("post", "schedules/preview/", rule)
    assert (status, len(body["next_slots"]), lines) == (200, 10, [])
    status, body, _ = api("post", "schedules/preview/", rule | {"kind": "cron", "cron": "never"})
    assert (status, list(body["errors"])) == (400, ["cron"])
    with tenant(world.acme.pk):
        assert not Schedule.objects.filter(bot=bot).exists()


def test_what_a_day_costs_and_how_reactions_ripen(made: Everything, api: Api) -> None:
    body = api("get", f"bots/{made.bot.pk}/costs/")[1]
    assert body["total"] == body["publishing"] + body["reading"]
    curve = api("get", f"bots/{made.bot.pk}/maturity/")[1]
    assert [each["minutes"] for each in curve] == made.bot.reading_ages
    assert all(0 <= each["share"] <= 1 for each in curve)
