"""Requests with a key act once: repeated, raced, broken off, taken over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import close_old_connections, connection
from django.db.models import F
from django.test import Client
from django.test.client import encode_multipart
from pytest_django import Settings

from accounts import idempotency
from accounts.models import ApiToken, AuditEntry, IdempotencyKey, Membership
from accounts.rotation import rotate_keys
from accounts.tenancy import tenant
from accounts.tokens import create_token
from bots.models import Bot
from bots.services import bots as bot_services
from tests.api.client import BASE
from tests.factories import World, client_of, make_bot, make_connection, make_world

KEY = "5c0f8e1e-0f5f-4b50-9a0c-6a0a4e1d2c3b"


@pytest.fixture
def body(world: World) -> dict[str, Any]:
    with tenant(world.acme.pk):
        return {"name": "Writer", "connection": str(make_connection().pk)}


def post(client: Client, path: str, body: Any, key: str = KEY, **headers: str) -> Any:
    return client.post(BASE + path, body, content_type="application/json", headers={"Idempotency-Key": key} | headers)


def count(world: World, model: Any = Bot, **which: Any) -> int:
    with tenant(world.acme.pk):
        found: int = model.objects.filter(**which).count()
        return found


def age(world: World, by: timedelta) -> None:
    with tenant(world.acme.pk):
        IdempotencyKey.objects.update(created_at=F("created_at") - by)


def test_a_repeated_request_reads_the_same_answer_and_acts_once(world: World, body: dict[str, Any]) -> None:
    alice = client_of(world.alice)
    first, second = (post(alice, "bots/", body) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (first.headers["ETag"], first.headers["Content-Type"]) == (
        second.headers["ETag"],
        second.headers["Content-Type"],
    )
    assert (count(world), count(world, AuditEntry, action="bot.create")) == (1, 1)


def test_without_a_key_or_with_another_one_a_request_acts_again(world: World, body: dict[str, Any]) -> None:
    alice = client_of(world.alice)
    assert post(alice, "bots/", body).status_code == 201
    assert post(alice, "bots/", body, key="another").status_code == 400  # the name is taken
    assert alice.post(BASE + "bots/", body, content_type="application/json").status_code == 400


@pytest.mark.parametrize("other", ["body", "address", "query", "precondition"])
def test_a_key_belongs_to_one_request(world: World, bot: Bot, other: str) -> None:
    alice, path, body, headers = client_of(world.alice), f"bots/{bot.pk}/pause/", {"reason": "x"}, {}
    assert post(alice, path, body).status_code == 200
    if other == "body":
        body = {"reason": "y"}
    elif other == "address":
        path = path.replace("pause", "resume")
    elif other == "query":
        path += "?a=1"
    else:
        headers = {"If-Match": "*"}
    answer = post(alice, path, body, **headers)
    expected = 400 if other == "query" else 422  # parameters that do not exist are refused before
    assert (answer.status_code, answer.headers["Content-Type"]) == (expected, "application/problem+json")
    if expected == 422:
        assert answer.json()["type"] == "/problems/idempotency-key-reused"


def test_keys_are_each_callers_own(world: World, bot: Bot) -> None:
    with tenant(world.acme.pk):
        _, secret = create_token(Membership.objects.get(user=world.alice), "Mine")
    path = f"bots/{bot.pk}/pause/"
    answers = [
        post(client_of(world.alice), path, {"reason": "alice"}),
        post(Client(), path, {"reason": "token"}, Authorization=f"Bearer {secret}"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].json()["pause_reason"] == "token"


@pytest.mark.parametrize("key", ["", "with space", "é", "x" * 256])
def test_a_key_that_is_none_is_refused(world: World, body: dict[str, Any], key: str) -> None:
    assert post(client_of(world.alice), "bots/", body, key=key).status_code == 400
    assert count(world) == 0


def test_a_refusal_is_an_answer_too(world: World, body: dict[str, Any]) -> None:
    alice = client_of(world.alice)
    first, second = (post(alice, "bots/", {**body, "name": ""}) for _ in range(2))
    assert (first.status_code, second.content) == (400, first.content)
    assert second.headers["Idempotent-Replayed"] == "true"


def test_who_may_no_longer_act_reads_no_answer_either(world: World, body: dict[str, Any]) -> None:
    alice = client_of(world.alice)
    assert post(alice, "bots/", body).status_code == 201
    with tenant(world.acme.pk):
        Membership.objects.filter(user=world.alice).update(role="viewer")
    assert post(alice, "bots/", body).status_code == 403


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Making a bot does its work, and fails then."""
    real = bot_services.create_bot

    def create(**fields: Any) -> Bot:
        real(**fields)
        raise error

    monkeypatch.setattr(bot_services, "create_bot", create)


def test_an_error_of_the_server_undoes_the_work_and_is_not_kept(
    world: World, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = client_of(world.alice)
    alice.raise_request_exception = False
    with monkeypatch.context() as broken:
        failing(broken, RuntimeError("boom"))
        assert post(alice, "bots/", body).status_code == 500
    assert (count(world), count(world, IdempotencyKey)) == (0, 0)
    assert post(alice, "bots/", body).status_code == 201


def test_what_dies_in_between_leaves_no_work_and_blocks_for_a_minute_only(
    world: World, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = client_of(world.alice)
    with monkeypatch.context() as dying:
        failing(dying, SystemExit())
        with pytest.raises(SystemExit):
            post(alice, "bots/", body)
    assert (count(world), count(world, IdempotencyKey, status=None)) == (0, 1)
    age(world, idempotency.LEASE - timedelta(seconds=5))
    waiting = post(alice, "bots/", body)
    assert (waiting.status_code, waiting.json()["type"]) == (409, "/problems/request-in-progress")
    assert int(waiting.headers["Retry-After"]) >= 1
    age(world, timedelta(seconds=6))
    assert post(alice, "bots/", body).status_code == 201
    assert count(world) == 1


def test_who_was_taken_over_undoes_what_it_did(
    world: World, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bot_services.create_bot

    def slow(**fields: Any) -> Bot:
        IdempotencyKey.objects.update(created_at=F("created_at") + timedelta(seconds=61))  # somebody else's claim
        return real(**fields)

    monkeypatch.setattr(bot_services, "create_bot", slow)
    answer = post(client_of(world.alice), "bots/", body)
    assert (answer.status_code, count(world)) == (409, 0)


def test_answers_are_forgotten_after_a_day(world: World, bot: Bot) -> None:
    alice, path = client_of(world.alice), f"bots/{bot.pk}/pause/"
    assert post(alice, path, {"reason": "x"}).status_code == 200
    age(world, idempotency.KEPT - timedelta(minutes=1))
    assert idempotency.forget_old() == 0
    assert post(alice, path, {"reason": "y"}).status_code == 422
    age(world, timedelta(minutes=2))
    assert post(alice, path, {"reason": "y"}).status_code == 200  # not swept yet, and free again
    assert idempotency.forget_old() == 0
    age(world, idempotency.KEPT + timedelta(minutes=1))
    assert idempotency.forget_old() == 1


def test_secrets_in_answers_are_repeated_and_nowhere_in_clear(world: World, settings: Settings) -> None:
    alice = client_of(world.alice)
    first, second = (post(alice, "tokens/", {"name": "Mine"}) for _ in range(2))
    secret = first.json()["secret"]
    assert (second.json()["secret"], count(world, ApiToken)) == (secret, 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM accounts_idempotencykey t WHERE t::text LIKE %s", [f"%{secret}%"])
        assert cursor.fetchone() == (0,)
    settings.CREDENTIAL_KEYS = {"new": bytes([7] * 32), **settings.CREDENTIAL_KEYS}
    assert rotate_keys().resealed >= 1
    assert post(alice, "tokens/", {"name": "Mine"}).content == first.content


def test_uploads_count_by_their_content_and_not_by_their_boundary(world: World, bot: Bot) -> None:
    alice = client_of(world.alice)

    def upload(content: bytes, boundary: str) -> Any:
        form = {"bot": str(bot.pk), "name": "Past", "source": "Mine", "licence": "Mine"}
        body = encode_multipart(boundary, form | {"file": SimpleUploadedFile("past.csv", content)})
        kind = f"multipart/form-data; boundary={boundary}"
        return alice.post(BASE + "datasets/", body, content_type=kind, headers={"Idempotency-Key": KEY})

    rows = b"text\n" + b"".join(b"a post number %d\n" % number for number in range(40))
    first, second, other = upload(rows, "one"), upload(rows, "two"), upload(rows + b"one more\n", "one")
    assert (first.status_code, other.status_code) == (201, 422)
    assert (second.content, second.headers["Idempotent-Replayed"]) == (first.content, "true")


def test_an_answer_without_end_cannot_be_kept(world: World, made: Any) -> None:
    answer = post(client_of(world.alice), "generate/stream/", {"bot": str(made.bot.pk)})
    assert (answer.status_code, "stream" in answer.json()["detail"]) == (400, True)


@pytest.fixture
def racing(transactional_db: None) -> World:
    return make_world()


@pytest.mark.django_db(transaction=True)
def test_a_duplicate_meanwhile_is_told_to_wait(racing: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with tenant(racing.acme.pk):
        bot = make_bot()
    real, begun, go_on = bot_services.pause_bot, threading.Event(), threading.Event()

    def slow(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return real(*args, **kwargs)

    monkeypatch.setattr(bot_services, "pause_bot", slow)
    alice, path = client_of(racing.alice), f"bots/{bot.pk}/pause/"
    answers: list[Any] = []
    thread = in_thread(lambda: answers.append(post(alice, path, {"reason": "x"})))
    assert begun.wait(20)
    meanwhile = post(client_of(racing.alice), path, {"reason": "x"})
    go_on.set()
    thread.join(20)
    after = post(client_of(racing.alice), path, {"reason": "x"})
    assert [answer.status_code for answer in (meanwhile, *answers, after)] == [409, 200, 200]
    assert after.content == answers[0].content
    with tenant(racing.acme.pk):
        assert AuditEntry.objects.filter(action="bot.pause").count() == 1


def in_thread(work: Callable[[], Any]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            close_old_connections()
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread
