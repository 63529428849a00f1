"""Guessing passwords: stopped for the pair of account and address, and only for that."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.core import mail
from django.db.models import F
from django.test import Client
from django.utils import timezone

from accounts.access import client_address
from tests.accounts.signing_in import SIGN_IN, links, person_of, sign_in
from tests.accounts.test_pages import trouble_of
from tests.factories import PASSWORD, World, client_of, make_user

HERE, THERE = "203.0.113.7", "203.0.113.8"


def _guess(email: str, times: int = 5, address: str = HERE) -> Any:
    client = Client(REMOTE_ADDR=address)
    for number in range(times):
        answer = sign_in(client, email, f"guess number {number}")
    return answer


def _enters(email: str, address: str = HERE) -> bool:
    client = Client(REMOTE_ADDR=address)
    sign_in(client, email)
    return person_of(client) is not None


def test_the_fifth_wrong_password_closes_the_door_and_says_until_when(world: World) -> None:
    assert _guess("alice@kilroy.example", 4).status_code == 200
    answer = _guess("Alice@Kilroy.Example", 1)
    assert (answer.status_code, trouble_of(answer)) == (429, [])
    assert 890 <= int(answer["Retry-After"]) <= 900
    assert f'tried again at <time datetime="{answer.context["again_at"].isoformat()}' in answer.content.decode()
    assert timedelta(minutes=14) < answer.context["again_at"] - timezone.now() <= timedelta(minutes=15)
    assert not _enters("alice@kilroy.example")


def test_others_and_other_places_are_not_kept_out(world: World) -> None:
    _guess("alice@kilroy.example")
    assert _enters("bob@kilroy.example")
    assert _enters("alice@kilroy.example", THERE)


def test_the_door_opens_again_after_a_while_however_often_one_tries(world: World) -> None:
    _guess("alice@kilroy.example")
    first = AccessAttempt.objects.get().attempt_time
    _guess("alice@kilroy.example", 3)
    assert AccessAttempt.objects.get().attempt_time == first
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - timedelta(minutes=16))
    assert _enters("alice@kilroy.example")


def test_success_forgets_the_failures(world: World) -> None:
    _guess("alice@kilroy.example", 4)
    assert _enters("alice@kilroy.example")
    assert not AccessAttempt.objects.exists()


def test_a_new_password_by_mail_opens_the_door(world: World) -> None:
    _guess("alice@kilroy.example")
    client = Client(REMOTE_ADDR=HERE)
    client.post("/account/password/reset/", {"email": "alice@kilroy.example"})
    page = client.get(links(mail.outbox[0])[0], follow=True)
    new = "another long pass phrase"
    client.post(page.redirect_chain[-1][0], {"password1": new, "password2": new})
    sign_in(client, "alice@kilroy.example", new)
    assert person_of(client) == str(world.alice.pk)


def test_unknown_accounts_are_treated_alike(db: None) -> None:
    assert _guess("nobody@kilroy.example").status_code == 429


def test_many_accounts_from_one_place_are_stopped_too(world: World) -> None:
    for number in range(10):
        _guess(f"person{number}@kilroy.example", 1)
    assert not _enters("alice@kilroy.example")
    assert _enters("alice@kilroy.example", THERE)


def test_many_places_at_one_account_are_stopped_too(world: World) -> None:
    for number in range(20):
        _guess("alice@kilroy.example", 1, f"198.51.100.{number}")
    assert not _enters("alice@kilroy.example", THERE)
    assert _enters("bob@kilroy.example", THERE)


@pytest.mark.parametrize("email", ["a\0b@kilroy.example", "x" * 300 + "@kilroy.example", "", "'; drop table"])
def test_garbage_is_refused_politely(db: None, email: str) -> None:
    assert _guess(email, 1).status_code == 200


def test_the_operators_panel_has_the_same_door(world: World) -> None:
    operator = make_user("root@kilroy.example", is_staff=True, is_superuser=True)
    for method in ("get", "post"):
        answer = getattr(Client(), method)("/operator/login/", {"username": operator.email, "password": PASSWORD})
        assert answer.headers["Location"].startswith(f"{SIGN_IN}?next=")
    assert client_of(world.alice).get("/operator/login/").status_code == 403
    _guess(operator.email)
    assert not _enters(operator.email)
    client = Client()
    answer = client.post(f"{SIGN_IN}?next=/operator/", {"login": operator.email, "password": PASSWORD})
    assert answer.headers["Location"] == "/operator/"


@pytest.mark.parametrize(
    ("proxies", "header", "address"),
    [
        (0, None, HERE),
        (0, "192.0.2.1", HERE),
        (1, "192.0.2.1", "192.0.2.1"),
        (1, "192.0.2.66, 192.0.2.1", "192.0.2.1"),
        (2, "192.0.2.66, 192.0.2.1, 192.0.2.2", "192.0.2.1"),
        (2, "192.0.2.2", HERE),
        (1, "nonsense", HERE),
    ],
)
def test_whose_word_counts_for_the_address(
    rf: Any, settings: Any, proxies: int, header: str | None, address: str
) -> None:
    settings.TRUSTED_PROXIES = proxies
    headers = {"X-Forwarded-For": header} if header else {}
    assert client_address(rf.get("/", REMOTE_ADDR=HERE, headers=headers)) == address


def test_a_forged_header_does_not_open_the_door_again(world: World) -> None:
    _guess("alice@kilroy.example")
    client = Client(REMOTE_ADDR=HERE, headers={"X-Forwarded-For": "192.0.2.5"})
    sign_in(client, "alice@kilroy.example")
    assert person_of(client) is None
