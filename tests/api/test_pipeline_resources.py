"""Harvests, retraining and the queue over the API."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.tenancy import tenant
from tests.api.client import Api
from tests.factories import World, make_bot, make_post, make_version


@pytest.fixture
def body(bot: Any) -> dict[str, Any]:
    return {"bot": str(bot.pk), "connection": str(bot.connection_id)}


def test_an_account_is_harvested_read_now_changed_and_left(api: Api, body: dict[str, Any]) -> None:
    status, harvest, audit = api("post", "harvests/", body | {"every_minutes": 60})
    assert (status, harvest["every_minutes"], harvest["active"], audit) == (201, 60, True, ["harvest.create"])
    address = f"harvests/{harvest['id']}/"
    status, changed, audit = api("patch", address, {"every_minutes": 120, "active": False})
    assert (status, changed["every_minutes"], changed["active"], audit) == (200, 120, False, ["harvest.change"])
    status, problem, _ = api("post", address + "now/")
    assert (status, problem["detail"]) == (400, "This harvest is switched off: switch it on first.")
    api("patch", address, {"active": True})
    assert api("post", address + "now/")[::2] == (200, ["harvest.now"])
    assert api("delete", address)[::2] == (204, ["harvest.remove"])


def test_a_harvest_that_the_platform_does_not_allow_is_refused(api: Api, body: dict[str, Any]) -> None:
    status, problem, audit = api("post", "harvests/", body | {"account": "@ann"})
    assert (status, list(problem["errors"]), audit) == (400, ["account"], ["harvest.refused"])
    assert api("post", "harvests/", body | {"every_minutes": 1})[0] == 400


def test_retraining_is_set_by_the_bots_id(api: Api, bot: Any) -> None:
    address = f"retrainings/{bot.pk}/"
    assert api("get", address)[0] == 404
    status, row, audit = api("patch", address, {"active": True, "config": {"max_epochs": 2}, "tag": "x-%H"})
    assert (status, row["bot"], row["active"], row["config"]) == (200, str(bot.pk), True, {"max_epochs": 2})
    assert audit == ["retraining.set"]
    assert api("get", address)[1] == row
    status, problem, _ = api("patch", address, {"tag": "a b"})
    assert (status, list(problem["errors"])) == (400, ["tag"])
    assert api("patch", address, {"config": {"no_such": 1}})[0] == 400


def test_the_queue_is_read_moved_ordered_and_filled(api: Api, world: World, bot: Any) -> None:
    with tenant(world.acme.pk):
        first, second = (str(make_post(bot, "approved").pk) for _ in range(2))
        stranger = str(make_post(make_bot(), "approved").pk)
    address = f"queue/{bot.pk}/"

    def waiting(answer: Any) -> list[str]:
        return [post["id"] for post in answer["waiting"]]

    assert waiting(api("get", address)[1]) == [first, second]
    status, answer, audit = api("post", address + "move/", {"post": second, "to": "top"})
    assert (status, waiting(answer), audit) == (200, [second, first], ["queue.move"])
    assert api("post", address + "move/", {"post": stranger, "to": "top"})[0] == 400
    assert api("post", address + "move/", {"post": second, "to": "sideways"})[0] == 400

    lines = {"text": "A heron in the canal said nothing\n\n" + "x" * 300}
    status, looked, audit = api("post", address + "preview/", lines)
    assert (status, [bool(line["dropped"]) for line in looked], audit) == (200, [False, True], [])
    status, added, audit = api("post", address + "import/", lines | {"approve": True})
    assert (status, [post["state"] for post in added]) == (201, ["approved"])
    assert audit == ["post.propose", "post.approve"]
    assert api("post", address + "import/", {"text": " "})[0] == 400

    status, answer, _ = api("patch", address, {"order": "random"})
    assert (status, answer["order"]) == (200, "random")


def test_posts_are_written_ahead(api: Api, world: World, bot: Any) -> None:
    asked = {"bot": str(bot.pk), "count": 40, "params": {"temperature": 0.5}}
    assert api("post", "write-ahead/", asked)[0] == 400  # there is no model
    with tenant(world.acme.pk):
        make_version(bot)
    status, answer, _ = api("post", "write-ahead/", asked)
    assert (status, [each["count"] for each in answer]) == (202, [32, 8])
    assert api("post", "write-ahead/", asked | {"params": {"temprature": 1}})[0] == 400
