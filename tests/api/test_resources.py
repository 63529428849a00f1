"""Bots, connections, schedules and posts over the API: what each does, refuses and writes down."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots.models import Bot, Post, Schedule
from faces.contract import FaceError
from faces.models import Connection
from faces.registry import FACES
from tests.api.client import BASE, Api
from tests.everything import Everything, make_everything
from tests.factories import World, make_bot, make_connection, make_post
from tests.fake_platform import FakePlatform, StubKind, fake_face


@pytest.fixture
def theirs(world: World) -> Everything:
    """The same of another organization."""
    with tenant(world.globex.pk):
        return make_everything()


# Connections


def test_a_connection_is_made_with_the_faces_defaults(api: Api) -> None:
    status, body, lines = api("post", "connections/", {"kind": "sandbox", "name": "Here", "settings": {"seed": 7}})
    assert (status, lines) == (201, ["connection.create"])
    assert body["settings"] == {"seed": 7, "followers": 2000, "clock_speed": 1.0}
    assert (body["simulated"], body["capabilities"]["takes_images"]) == (True, True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "myspace"}, "kind"),
        ({"settings": {"seed": -1}}, "settings"),
        ({"settings": {"colour": "red"}}, "settings"),
        ({"settings": [1]}, "settings"),
        ({"settings": "seed"}, "settings"),
        ({"settings": None}, "settings"),
        ({"name": ""}, "name"),
        ({"name": "Taken"}, "name"),
    ],
)
def test_a_connection_that_cannot_be_is_refused(world: World, api: Api, change: dict[str, Any], field: str) -> None:
    with tenant(world.acme.pk):
        make_connection(name="Taken")
    status, body, lines = api("post", "connections/", {"kind": "sandbox", "name": "Here"} | change)
    assert (status, list(body["errors"]), lines) == (400, [field], [])


def test_another_organizations_names_are_free(world: World, api: Api) -> None:
    with tenant(world.globex.pk):
        make_connection(name="Theirs")
    assert api("post", "connections/", {"kind": "sandbox", "name": "Theirs"})[0] == 201


def test_a_connection_is_looked_over(made: Everything, api: Api) -> None:
    status, body, _ = api("post", f"connections/{made.connection.pk}/verify/")
    assert (status, body["ok"], body["missing"]) == (200, True, [])


# Bots


def test_a_bot_is_made(world: World, api: Api) -> None:
    with tenant(world.acme.pk):
        connection = make_connection()
    status, body, lines = api("post", "bots/", {"name": " Writer ", "connection": str(connection.pk)})
    assert (status, lines) == (201, ["bot.create"])
    assert (body["name"], body["approval"], body["base_model"]) == ("Writer", "review", "starter")
    assert (body["connection"], body["simulated"], body["paused_at"]) == (str(connection.pk), True, None)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "Taken"}, "name"),
        ({"connection": "not-an-id"}, "connection"),
        ({"connection": None}, "connection"),
        ({"approval": "always"}, "approval"),
        ({"score_formula": "1/likes"}, "score_formula"),
        ({"score_formula": "().__class__"}, "score_formula"),
        ({"score_formula": "9**9**9**9"}, "score_formula"),
        ({"score_formula": ""}, "score_formula"),
        ({"reading_ages": []}, "reading_ages"),
        ({"reading_ages": [60, 15]}, "reading_ages"),
        ({"reading_ages": [15, 15, 1440]}, "reading_ages"),
        ({"reading_ages": [0, 1440]}, "reading_ages"),
        ({"reading_ages": [15, 10**15]}, "reading_ages"),
        ({"reading_ages": "often"}, "reading_ages"),
        ({"reading_ages": [15, 60]}, "reward_age"),
        ({"reward_age": 0}, "reward_age"),
        ({"reward_age": 10**12}, "reward_age"),
        ({"posts_per_day": 0}, "posts_per_day"),
        ({"posts_per_day": -1}, "posts_per_day"),
        ({"blocklist": [""]}, "blocklist"),
        ({"blocklist": "word"}, "blocklist"),
        ({"name": "a\0b"}, "name"),
    ],
)
def test_a_bot_that_cannot_be_is_refused(world: World, api: Api, change: dict[str, Any], field: str) -> None:
    with tenant(world.acme.pk):
        make_bot(name="Taken")
        connection = make_connection()
    status, body, lines = api("post", "bots/", {"name": "New", "connection": str(connection.pk)} | change)
    assert (status, list(body["errors"]), lines) == (400, [field], [])


def test_a_bot_changes_what_is_said_and_nothing_else(made: Everything, api: Api) -> None:
    _, before, _ = api("get", f"bots/{made.bot.pk}/")
    status, after, lines = api("patch", f"bots/{made.bot.pk}/", {"approval": "auto", "paused_at": "2026-01-01T00:00Z"})
    assert (status, lines) == (200, ["bot.change"])
    assert after == before | {"approval": "auto"}


def test_a_bot_keeps_its_connection(world: World, made: Everything, api: Api) -> None:
    with tenant(world.acme.pk):
        other = make_connection()
    status, body, _ = api("patch", f"bots/{made.bot.pk}/", {"connection": str(other.pk)})
    assert (status, list(body["errors"])) == (400, ["connection"])


def test_a_refused_change_changes_nothing(world: World, made: Everything, api: Api) -> None:
    status, _, lines = api("patch", f"bots/{made.bot.pk}/", {"description": "new", "score_formula": "1/likes"})
    assert (status, lines) == (400, [])
    with tenant(world.acme.pk):
        assert Bot.objects.get(pk=made.bot.pk).description == made.bot.description


def test_the_kill_switch(made: Everything, api: Api) -> None:
    status, body, lines = api("post", f"bots/{made.bot.pk}/pause/", {"reason": "too loud"})
    assert (status, body["pause_reason"], lines) == (200, "too loud", ["bot.pause"])
    assert body["paused_at"] is not None
    status, body, lines = api("post", f"bots/{made.bot.pk}/resume/")
    assert (status, body["paused_at"], body["pause_reason"], lines) == (200, None, "", ["bot.resume"])


# Another organization's ids in bodies


def test_another_organizations_id_in_a_body_is_as_unknown_as_a_made_up_one(
    world: World, made: Everything, theirs: Everything, api: Api
) -> None:
    made_up = "00000000-0000-4000-8000-000000000000"
    bodies: list[tuple[str, str, str, dict[str, Any]]] = [
        ("post", "bots/", "connection", {"name": "New", "connection": theirs.connection.pk}),
        ("patch", f"bots/{made.bot.pk}/", "connection", {"connection": theirs.connection.pk}),
        ("post", "posts/", "bot", {"text": "New", "bot": theirs.bot.pk}),
        ("post", "schedules/", "bot", {"kind": "interval", "interval_seconds": 60, "bot": theirs.bot.pk}),
        ("patch", f"schedules/{made.schedule.pk}/", "bot", {"bot": theirs.bot.pk}),
        ("post", "runs/", "bot", {"kind": "offline", "dataset": made.dataset.pk, "bot": theirs.bot.pk}),
        ("post", "runs/", "dataset", {"kind": "offline", "bot": made.bot.pk, "dataset": theirs.dataset.pk}),
        ("post", "runs/", "start_version", {"kind": "online", "bot": made.bot.pk, "start_version": theirs.version.pk}),
        ("post", "generate/?wait=false", "bot", {"bot": theirs.bot.pk}),
        ("post", "generate/?wait=false", "version", {"bot": made.bot.pk, "version": theirs.version.pk}),
    ]
    for method, path, field, body in bodies:
        status, answer, lines = api(method, path, body)
        assert (status, list(answer["errors"]), lines) == (400, [field], []), (path, field)
        _, unknown, _ = api(method, path, body | {field: made_up})
        assert str(answer).replace(str(body[field]), made_up) == str(unknown), (path, field)


def test_filtering_by_another_organizations_bot_finds_nothing(theirs: Everything, made: Everything, api: Api) -> None:
    for resource in ("posts", "scores", "datasets", "runs", "models", "generate"):
        assert api("get", f"{resource}/?bot={theirs.bot.pk}")[1]["results"] == []
    status, body, _ = api("get", f"schedules/?bot={theirs.bot.pk}")
    assert status == 400 or body["results"] == []


# Schedules


def test_a_schedule_is_made_with_its_next_slots(made: Everything, api: Api) -> None:
    rule = {"bot": str(made.bot.pk), "kind": "cron", "cron": "0 9 * * *", "zone": "Europe/Warsaw"}
    status, body, lines = api("post", "schedules/", rule)
    assert (status, lines) == (201, ["schedule.set"])
    assert len(body["next_slots"]) == 10
    assert {slot[11:16] for slot in body["next_slots"]} <= {"07:00", "08:00"}


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"kind": "cron", "cron": "0 0 30 2 *"}, "cron"),
        ({"kind": "cron"}, "cron"),
        ({"kind": "cron", "cron": "x" * 121}, "cron"),
        ({"kind": "timetable", "timetable": ["someday"]}, "timetable"),
        ({"kind": "timetable"}, "timetable"),
        ({"kind": "interval"}, "interval_seconds"),
        ({"kind": "interval", "interval_seconds": 0}, "interval_seconds"),
        ({"kind": "interval", "interval_seconds": 10**15}, "interval_seconds"),
        ({"kind": "interval", "interval_seconds": 60, "zone": "Mars/Olympus"}, "zone"),
        ({"kind": "interval", "interval_seconds": 60, "misfire_minutes": -5}, "misfire_minutes"),
        ({"kind": "sometimes"}, "kind"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(made: Everything, api: Api, rule: dict[str, Any], field: str) -> None:
    status, body, lines = api("post", "schedules/", {"bot": str(made.bot.pk)} | rule)
    assert (status, list(body["errors"]), lines) == (400, [field], [])


def test_a_schedule_is_changed_and_removed(world: World, made: Everything, api: Api) -> None:
    status, body, lines = api("patch", f"schedules/{made.schedule.pk}/", {"interval_seconds": 7200})
    assert (status, body["interval_seconds"], lines) == (200, 7200, ["schedule.set"])
    assert api("delete", f"schedules/{made.schedule.pk}/") == (204, None, ["schedule.remove"])
    with tenant(world.acme.pk):
        assert not Schedule.objects.exists()
        post = Post.objects.get(pk=made.posts["scheduled"].pk)
    assert (post.state, post.slot_utc) == ("approved", None)


# Posts


def test_a_post_is_proposed(made: Everything, api: Api) -> None:
    status, body, lines = api("post", "posts/", {"bot": str(made.bot.pk), "text": " A new text "})
    assert (status, lines) == (201, ["post.propose"])
    assert (body["state"], body["text"], body["arm"], body["simulated"]) == (
        "pending_review",
        "A new text",
        "human",
        True,
    )
    assert {verdict["value"] for verdict in body["verdicts"]} == {"pass"}


def test_what_decides_about_a_post_cannot_be_sent_along(made: Everything, api: Api) -> None:
    wish = {"state": "published", "approved_by": "me", "arm": "learning", "remote_id": "1", "payload_sha256": "0" * 64}
    _, body, _ = api("post", "posts/", {"bot": str(made.bot.pk), "text": "A new text"} | wish)
    assert (body["state"], body["approved_by"], body["arm"], body["remote_id"]) == ("pending_review", "", "human", None)
    assert body["payload_sha256"] != "0" * 64


@pytest.mark.parametrize("text", ["", "   ", "x" * 100_000, "a\0b", None, 7.5, ["x"]])
def test_a_text_that_cannot_be_a_post_is_refused(made: Everything, api: Api, text: Any) -> None:
    status, body, lines = api("post", "posts/", {"bot": str(made.bot.pk), "text": text})
    if text == 7.5:
        assert (status, body["text"]) == (201, "7.5")
    else:
        assert (status, list(body["errors"]), lines) == (400, ["text"], [])


def test_a_reply_is_a_reply(made: Everything, api: Api) -> None:
    status, body, _ = api("post", "posts/", {"bot": str(made.bot.pk), "text": "Indeed", "reply_to": "17"})
    can = api("get", f"connections/{made.connection.pk}/")[1]["capabilities"]["can_reply"]
    assert (status, body.get("kind")) == ((201, "reply") if can else (400, None))


def test_from_review_to_the_slot(world: World, made: Everything, api: Api) -> None:
    path = f"posts/{made.post.pk}/"
    status, body, lines = api("patch", path, {"text": "A better text"})
    assert (status, body["text"], body["state"], lines) == (200, "A better text", "pending_review", ["post.edit"])
    assert api("post", f"{path}approve/", {"payload_sha256": made.post.payload_sha256})[0] == 400
    status, body, lines = api("post", f"{path}approve/", {"payload_sha256": body["payload_sha256"]})
    assert (status, body["state"], lines) == (200, "approved", ["post.approve"])
    assert body["approved_by"] == "alice@kilroy.example"
    status, body, lines = api("post", f"{path}publish-now/")
    assert (status, body["state"], lines) == (200, "scheduled", ["post.publish_now"])
    status, body, lines = api("post", f"{path}cancel/")
    assert (status, body["state"], body["slot_utc"], lines) == (200, "cancelled", None, ["post.cancel"])


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        ("approve", "published"),
        ("decline", "approved"),
        ("cancel", "published"),
        ("publish-now", "pending_review"),
        ("take-down", "approved"),
    ],
)
def test_an_impossible_step_is_a_conflict(made: Everything, api: Api, verb: str, state: str) -> None:
    status, body, lines = api("post", f"posts/{made.posts[state].pk}/{verb}/")
    assert (status, body["title"], lines) == (409, "Conflict", [])
    assert "cannot become" in body["detail"]


def test_a_decline_keeps_its_reason(made: Everything, api: Api) -> None:
    status, body, lines = api("post", f"posts/{made.post.pk}/decline/", {"reason": "not our tone"})
    assert (status, body["state"], body["decline_reason"]) == (200, "declined", "not our tone")
    assert lines == ["post.decline"]
    assert api("post", f"posts/{made.posts['blocked'].pk}/decline/", {"reason": "x" * 301})[0] == 400


def test_taking_down_what_the_platform_will_not_delete_is_a_conflict(
    world: World, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = FakePlatform(answers=[FaceError("Not yours.", permanent=True)])
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(platform)))
    with tenant(world.acme.pk):
        post = make_post(make_bot(Connection.objects.create(kind="fake", name="Fake")), "published")
    status, body, lines = api("post", f"posts/{post.pk}/take-down/")
    assert (status, body["detail"], lines) == (409, "Not yours.", [])
    status, body, lines = api("post", f"posts/{post.pk}/take-down/")
    assert (status, body["state"], lines) == (200, "deleted", ["post.take_down"])


def test_a_post_says_how_it_did(made: Everything, api: Api) -> None:
    _, body, _ = api("get", f"posts/{made.posts['published'].pk}/")
    assert body["reward"] == 0.5
    (reading,) = api("get", f"scores/?post={body['id']}")[1]["results"]
    assert (reading["metrics"], reading["followers"], reading["simulated"]) == ({"likes": 3}, 100, True)
    assert api("get", f"posts/{made.post.pk}/")[1]["reward"] is None


def test_nobody_writes_without_a_line(world: World) -> None:
    """An anonymous call leaves nothing at all."""
    answer = Client().post(f"{BASE}bots/", {}, content_type="application/json")
    assert answer.status_code == 401
    with tenant(world.acme.pk):
        assert AuditEntry.objects.count() == 3
