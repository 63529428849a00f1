"""Versions of objects: who has the newest one is told so, and who changes an older one is refused."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from accounts import organizations
from accounts.models import AuditEntry, Organization
from accounts.tenancy import tenant
from bots.models import Bot
from bots.services import bots as bot_services
from tests.api.client import BASE
from tests.api.test_idempotency import in_thread
from tests.everything import Everything
from tests.factories import World, client_of, make_bot, make_world
from tests.routes import API, Route, ids_of

STALE = '"00000000000000000000000000000000"'


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


def send(client: Client, method: str, path: str, body: Any = None, **headers: str) -> Any:
    url = path if path.startswith("/") else BASE + path
    raw = "" if body is None else json.dumps(body)
    return client.generic(method.upper(), url, raw, content_type="application/json", headers=headers)


def test_every_object_has_a_version_that_one_need_not_read_again(made: Everything, alice: Client) -> None:
    found = {}
    for route in API:
        if route.actions.get("get") != "retrieve":
            continue
        url = route.url("acme", ids_of(made, route))
        first = alice.get(url)
        if first.status_code == 404:
            continue
        tag = first.headers.get("ETag", "")
        again = alice.get(url, headers={"If-None-Match": f'"other", W/{tag}'})
        other = alice.get(url, headers={"If-None-Match": STALE})
        found[route.pattern] = (
            (tag.startswith('"'), again.status_code, again.content, again.headers.get("ETag") == tag),
            other.status_code,
        )
    assert {where: what for where, what in found.items() if what != ((True, 304, b"", True), 200)} == {}
    assert len(found) > 15


def test_lists_have_no_version(made: Everything, alice: Client) -> None:
    assert "ETag" not in alice.get(BASE + "bots/").headers


def changes(made: Everything) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"bots/{made.bot.pk}/", {"name": "Another"}),
        (f"schedules/{made.schedule.pk}/", {"active": False}),
        (f"posts/{made.post.pk}/", {"text": "Other words"}),
        (f"queue/{made.bot.pk}/", {"order": "random"}),
        (f"reply-rules/{made.bot.pk}/", {"per_hour": 3}),
        (f"harvests/{made.harvest.pk}/", {"every_minutes": 90}),
        (f"retrainings/{made.bot.pk}/", {"every_hours": 48}),
        ("", {"name": "Acme & sons"}),
    ]


def test_an_edit_of_the_version_one_saw_is_taken_and_tells_the_next(made: Everything, alice: Client) -> None:
    for path, change in changes(made):
        seen = alice.get(BASE + path).headers["ETag"]
        edited = send(alice, "patch", path, change, **{"If-Match": seen})
        assert edited.status_code == 200, (path, edited.content)
        now = alice.get(BASE + path).headers["ETag"]
        assert edited.headers["ETag"] == now != seen, path
        again = send(alice, "patch", path, change, **{"If-Match": seen})
        assert (again.status_code, again.headers["Content-Type"]) == (412, "application/problem+json"), path
        assert send(alice, "patch", path, change, **{"If-Match": f"{seen}, {now}"}).status_code == 200, path


def conditional() -> list[tuple[Route, str]]:
    """Every write to a single object."""
    return [
        (route, method)
        for route in API
        for method in route.actions
        if method in ("patch", "delete", "post") and ("<pk>" in route.pattern or method != "post")
    ]


def test_no_write_passes_with_an_old_version(world: World, made: Everything, alice: Client) -> None:
    found = {}
    with tenant(world.acme.pk):
        before = AuditEntry.objects.count()
    for route, method in conditional():
        with transaction.atomic():
            answer = send(alice, method, route.url("acme", ids_of(made, route)), {}, **{"If-Match": STALE})
            transaction.set_rollback(True)
        found[route.pattern, method] = answer.status_code
    assert {where: status for where, status in found.items() if status != 412} == {}
    assert len(found) > 50
    with tenant(world.acme.pk):
        assert AuditEntry.objects.count() == before


def test_any_version_will_do_for_a_star(made: Everything, alice: Client) -> None:
    path = f"bots/{made.bot.pk}/"
    assert send(alice, "patch", path, {"name": "Another"}, **{"If-Match": "*"}).status_code == 200
    tag = alice.get(BASE + path).headers["ETag"]
    assert send(alice, "patch", path, {"name": "A third"}, **{"If-Match": f"W/{tag}"}).status_code == 412
    assert send(alice, "patch", path, {"name": "A third"}, **{"If-Match": "no tag"}).status_code == 412


def test_a_condition_where_there_is_no_object_is_refused(world: World, alice: Client) -> None:
    answer = send(alice, "post", "bots/", {}, **{"If-Match": STALE})
    assert (answer.status_code, "If-Match" in answer.json()["detail"]) == (400, True)


def test_what_changes_by_itself_makes_no_new_version(
    made: Everything, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"schedules/{made.schedule.pk}/"
    first = alice.get(BASE + path)
    monkeypatch.setattr("bots.api.slots.upcoming", lambda *args: [])
    later = alice.get(BASE + path)
    assert first.json()["next_slots"] != later.json()["next_slots"]
    assert first.headers["ETag"] == later.headers["ETag"]


def test_an_answer_about_something_else_is_no_version_of_the_object(made: Everything, alice: Client) -> None:
    assert "ETag" not in send(alice, "post", f"connections/{made.connection.pk}/verify/").headers
    assert "ETag" in send(alice, "post", f"bots/{made.bot.pk}/pause/", {}).headers


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["bots/{}/", ""], ids=["a row", "the organization"])
def test_of_two_editors_at_once_one_is_refused(
    path: str, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is held in the middle of its edit; the second one comes meanwhile."""
    world = make_world()
    with tenant(world.acme.pk):
        bot = make_bot()
    path = path.format(bot.pk)
    begun, go_on, answers = threading.Event(), threading.Event(), []

    def held(real: Any) -> Any:
        def change(*args: Any, **kwargs: Any) -> Any:
            if not begun.is_set():
                begun.set()
                assert go_on.wait(20)
            return real(*args, **kwargs)

        return change

    monkeypatch.setattr(bot_services, "change_bot", held(bot_services.change_bot))
    monkeypatch.setattr(organizations, "rename_organization", held(organizations.rename_organization))
    tag = client_of(world.alice).get(BASE + path).headers["ETag"]
    clients = [client_of(world.alice) for _ in range(2)]

    def edit(number: int) -> None:
        answer = send(clients[number], "patch", path, {"name": f"Name {number}"}, **{"If-Match": tag})
        answers.append(answer.status_code)

    first = in_thread(lambda: edit(0))
    assert begun.wait(20)
    second = in_thread(lambda: edit(1))
    second.join(0.5)  # it waits for the first one's lock, or, without one, is done
    go_on.set()
    first.join(20)
    second.join(20)
    assert sorted(answers) == [200, 412]
    with tenant(world.acme.pk):
        name = Bot.objects.get().name if path else Organization.objects.get(pk=world.acme.pk).name
    assert name == "Name 0"
