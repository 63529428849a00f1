"""Posts over the API: scheduled by a person, decided on by the hundred, searched, sent out as CSV, with images."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from accounts import clock
from accounts.models import Membership
from accounts.tenancy import tenant
from accounts.tokens import create_token
from bots import post_filters
from bots.models import Bot, Post, ReplyCandidate
from bots.services import bots as bot_services
from bots.services import queue, scheduling
from faces.models import Connection
from tests.api.client import BASE, Api
from tests.everything import Everything
from tests.factories import PNG, World, client_of, make_bot, make_observation, make_post, make_reward, make_schedule

SOON = timedelta(hours=3)


@pytest.fixture
def approved(world: World, bot: Bot) -> Post:
    with tenant(world.acme.pk):
        return make_post(bot, "approved")


def _at(moment: Any) -> dict[str, str]:
    return {"at": moment.isoformat()}


def test_a_post_takes_the_moment_that_a_person_chose(world: World, api: Api, bot: Bot, approved: Post) -> None:
    moment = clock.now() + SOON
    status, body, lines = api("post", f"posts/{approved.pk}/schedule/", _at(moment))
    assert (status, body["state"], lines) == (200, "scheduled", ["post.schedule"])
    with tenant(world.acme.pk):
        schedule = make_schedule(bot)
        other = make_post(bot, "approved")
        scheduling.fill_slots(bot)
        bot_services.set_schedule(bot, schedule, interval_seconds=7200)
        bot_services.remove_schedule(schedule)
        queue.set_order(bot, "random")
        approved.refresh_from_db()
        other.refresh_from_db()
    assert (approved.slot_utc, approved.state) == (moment, "scheduled")
    assert other.state == "approved"  # its slot was the schedule's, and went with it


def test_an_occupied_slot_is_told(world: World, api: Api, bot: Bot, approved: Post) -> None:
    moment = clock.now() + SOON
    assert api("post", f"posts/{approved.pk}/schedule/", _at(moment))[0] == 200
    assert api("post", f"posts/{approved.pk}/schedule/", _at(moment))[0] == 200  # its own is no obstacle
    with tenant(world.acme.pk):
        second, theirs = make_post(bot, "approved"), make_post(make_bot(), "approved")
    status, body, lines = api("post", f"posts/{second.pk}/schedule/", _at(moment))
    assert (status, list(body["errors"]), lines) == (400, ["at"], [])
    assert "Another post has the slot" in body["detail"]
    assert api("post", f"posts/{theirs.pk}/schedule/", _at(moment))[0] == 200  # slots are of a bot


@pytest.mark.parametrize("away", [-timedelta(seconds=1), timedelta(days=367)])
def test_moments_that_cannot_be_are_refused(api: Api, approved: Post, away: timedelta) -> None:
    status, body, _ = api("post", f"posts/{approved.pk}/schedule/", _at(clock.now() + away))
    assert (status, list(body["errors"])) == (400, ["at"])


def test_only_an_approved_post_of_the_queue_is_scheduled(world: World, made: Everything, api: Api) -> None:
    moment = _at(clock.now() + SOON)
    assert api("post", f"posts/{made.post.pk}/schedule/", moment)[0] == 409
    with tenant(world.acme.pk):
        first = make_post(made.bot, "approved")
        answer = make_post(made.bot, "approved", kind="reply", reply_to="x")
        part = make_post(made.bot, "approved", continues=first)
    for post in (answer, part):
        assert api("post", f"posts/{post.pk}/schedule/", moment)[0] == 400


def test_a_slot_is_given_back(api: Api, approved: Post) -> None:
    api("post", f"posts/{approved.pk}/schedule/", _at(clock.now() + SOON))
    status, body, lines = api("post", f"posts/{approved.pk}/unschedule/")
    assert (status, body["state"], body["slot_utc"], lines) == (200, "approved", None, ["post.unschedule"])
    assert api("post", f"posts/{approved.pk}/unschedule/")[0] == 409


def test_deleting_cancels_what_was_not_sent_and_takes_down_what_was(
    world: World, made: Everything, api: Api, monkeypatch: Any
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("faces.kinds.sandbox.face.SandboxFace.delete", lambda face, remote_id: asked.append(remote_id))
    published = made.posts["published"]
    for post, action, state in (
        (made.posts["approved"], "post.cancel", "cancelled"),
        (published, "post.take_down", "deleted"),
    ):
        status, body, lines = api("delete", f"posts/{post.pk}/")
        assert (status, body, lines) == (204, None, [action])
        assert api("get", f"posts/{post.pk}/")[1]["state"] == state
        assert api("delete", f"posts/{post.pk}/")[0] == 204  # as often as one likes
    assert asked == [published.remote_id]
    assert api("delete", f"posts/{made.posts['sending'].pk}/")[0] == 409


def test_a_batch_answers_for_each_post(world: World, made: Everything, api: Api, bot: Bot) -> None:
    with tenant(world.acme.pk):
        good, stale = make_post(bot), make_post(bot)
    missing = "00000000-0000-4000-8000-000000000000"
    asked = [
        {"id": str(good.pk), "payload_sha256": good.payload_sha256},
        {"id": str(stale.pk), "payload_sha256": "0" * 64},
        {"id": missing},
        {"id": str(made.posts["published"].pk)},
    ]
    status, body, lines = api("post", "posts/batch/", {"action": "approve", "posts": asked})
    assert (status, lines) == (200, ["post.approve"])
    assert [(row["id"], row["status"], row["state"]) for row in body] == [
        (str(good.pk), 200, "approved"),
        (str(stale.pk), 400, None),
        (missing, 404, None),
        (str(made.posts["published"].pk), 409, "published"),
    ]
    assert all(bool(row["detail"]) == (row["status"] != 200) for row in body)


@pytest.mark.parametrize(
    ("action", "more", "state"),
    [
        ("decline", {"reason": "Too loud."}, "declined"),
        ("cancel", {}, "cancelled"),
        ("edit", {"text": "Quieter"}, "pending_review"),
    ],
)
def test_every_choice_of_a_batch(
    world: World, api: Api, bot: Bot, action: str, more: dict[str, str], state: str
) -> None:
    with tenant(world.acme.pk):
        post = make_post(bot)
    status, body, _ = api("post", "posts/batch/", {"action": action, "posts": [{"id": str(post.pk), **more}]})
    assert (status, body[0]["status"], body[0]["state"]) == (200, 200, state)


def test_a_batch_has_its_bounds(api: Api) -> None:
    one = {"id": "00000000-0000-4000-8000-000000000000"}
    for posts in ([], [one] * 201, [{"id": "x"}], "all", None):
        assert api("post", "posts/batch/", {"action": "approve", "posts": posts})[0] == 400
    assert api("post", "posts/batch/", {"action": "publish", "posts": [one]})[0] == 400
    assert len(api("post", "posts/batch/", {"action": "approve", "posts": [one] * 200})[1]) == 200


def test_who_may_only_decide_cannot_cancel_many(world: World, api: Api, bot: Bot) -> None:
    with tenant(world.acme.pk):
        Membership.objects.filter(user=world.bob).update(role="moderator")
        post = make_post(bot)
    bob = client_of(world.bob)
    for action, status in (("cancel", 403), ("edit", 403), ("approve", 200)):
        body = {"action": action, "posts": [{"id": str(post.pk), "text": "x"}]}
        assert bob.post(f"{BASE}posts/batch/", body, content_type="application/json").status_code == status


def test_a_token_that_may_write_cannot_take_down(world: World, made: Everything) -> None:
    with tenant(world.acme.pk):
        row, token = create_token(Membership.objects.get(user=world.alice), "Writer")
        row.scopes = ["post_write"]
        row.save()
    client = client_of(world.charlie)
    headers = {"Authorization": f"Bearer {token}"}
    published = f"{BASE}posts/{made.posts['published'].pk}/"
    assert client.delete(published, headers=headers).status_code == 403
    assert client.delete(f"{BASE}posts/{made.post.pk}/", headers=headers).status_code == 204


def test_images_come_with_their_words(world: World, api: Api, bot: Bot) -> None:
    def send(**fields: Any) -> Any:
        return api.client.post(f"{BASE}posts/", {"bot": str(bot.pk), "text": "Look", **fields})

    def png(content: bytes = PNG) -> SimpleUploadedFile:
        return SimpleUploadedFile("dot.exe.png", content, content_type="text/html")

    answer = send(image_files=[png(), png()], alt_texts=["A red dot", "Another"])
    assert (answer.status_code, [each["alt_text"] for each in answer.json()["images"]]) == (
        201,
        ["A red dot", "Another"],
    )
    image = answer.json()["images"][0]
    assert image["media_type"] == "image/png"
    found = api.client.get(f"{BASE}images/{image['id']}/file/")
    assert (found.getvalue(), found["Content-Type"], found["Content-Length"]) == (PNG, "image/png", str(len(PNG)))
    assert api("get", f"images/{image['id']}/")[1] == image
    for wrong in (
        {"image_files": [png()]},
        {"image_files": [png()], "alt_texts": ["", ""]},
        {"image_files": [png(b"GIF89a")], "alt_texts": ["x"]},
    ):
        assert send(**wrong).status_code == 400


def test_posts_are_found_by_what_is_known_of_them(world: World, api: Api, bot: Bot) -> None:
    with tenant(world.acme.pk):
        old, new = make_post(bot, "published", text="The quick brown fox"), make_post(bot, text="A lazy dog")
        Post.objects.filter(pk=old.pk).update(created_at=clock.now() - timedelta(days=9))
        make_reward(old, make_observation(old), value=2.5)
        Post.objects.filter(pk=new.pk).update(model_version_id=bot.pk)
    week_ago = (clock.now() - timedelta(days=7)).isoformat().replace("+", "%2B")
    for query, found in {
        "text=QUICK": [old],
        "text=100%25": [],
        "text=dog&state=published": [],
        f"created_after={week_ago}": [new],
        f"created_before={week_ago}": [old],
        f"published_after={week_ago}": [old],
        "min_reward=2": [old],
        "max_reward=2": [],
        f"model_version={bot.pk}": [new],
        "kind=reply": [],
        "ordering=created_at": [old, new],
    }.items():
        status, body, _ = api("get", f"posts/?{query}")
        assert (status, [row["id"] for row in body["results"]]) == (200, [str(post.pk) for post in found]), query
    for query in ("created_after=soon", "min_reward=much", f"text={'x' * 201}", "ordering=text"):
        assert api("get", f"posts/?{query}")[0] == 400, query


def test_a_search_looks_through_the_newest_alone(world: World, api: Api, bot: Bot, monkeypatch: Any) -> None:
    monkeypatch.setattr(post_filters, "SEARCHED", 2)
    with tenant(world.acme.pk):
        made = [make_post(bot, text=f"Number {number}") for number in range(4)]
    rows = api("get", "posts/?text=number&page_size=1")[1]
    assert [row["id"] for row in rows["results"]] == [str(made[3].pk)]
    rest = api.client.get(rows["next"]).json()
    assert ([row["id"] for row in rest["results"]], rest["next"]) == ([str(made[2].pk)], None)


def test_candidates_are_told_for_posts_and_answers(world: World, made: Everything, api: Api, bot: Bot) -> None:
    provenance = {"predicted": 1.5, "beaten": [["A weaker idea", 0.5]]}
    with tenant(world.acme.pk):
        post = make_post(bot, text="A strong idea", provenance=provenance)
        answer = made.incoming.answer
        ReplyCandidate.objects.create(incoming=made.incoming, position=1, text="Or so", verdict="It repeats itself.")
    rows = api("get", f"posts/{post.pk}/candidates/")[1]
    told = [(row["text"], row["chosen"], row["score"]) for row in rows]
    assert told == [("A strong idea", True, 1.5), ("A weaker idea", False, 0.5)]
    rows = api("get", f"posts/{answer.pk}/candidates/")[1]
    assert [(row["chosen"], row["verdict"]) for row in rows] == [(True, ""), (False, "It repeats itself.")]
    rows = api("get", f"candidates/?bot={made.bot.pk}&chosen=false")[1]["results"]
    assert [row["text"] for row in rows] == ["Or so"]
    assert api("get", f"candidates/{rows[0]['id']}/")[1] == rows[0]


def test_csv_of_posts_is_nothing_that_a_spreadsheet_computes(
    world: World, api: Api, bot: Bot, monkeypatch: Any
) -> None:
    monkeypatch.setattr("accounts.streamed.BATCH", 2)
    with tenant(world.acme.pk):
        texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", 'a,"b"\nc', "  =2", "plain"]
        for text in texts:
            make_post(bot, text=text)
        Connection.objects.update(name="=x")
    answer = api.client.get(f"{BASE}posts/csv/?bot={bot.pk}", headers={"Accept": "text/csv"})
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert {row["text"] for row in rows} == {text if text in ("plain", 'a,"b"\nc') else f"'{text}" for text in texts}
    assert len(rows) == len(texts)
    theirs = client_of(world.charlie).get("/api/v1/organizations/globex/posts/csv/")
    assert len(theirs.getvalue().splitlines()) == 1
