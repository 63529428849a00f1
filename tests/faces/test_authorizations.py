"""To a platform and back: who may come back, when, how often, and what is left behind."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from accounts import clock
from accounts.models import AuditEntry, Membership
from accounts.roles import Role
from accounts.tenancy import tenant
from faces import authorizations
from faces.models import Authorization, Connection
from faces.registry import FACES
from faces.services import create_connection, reconnect
from tests.faces.fake_kind import FAKE_KIND, FakeFlow
from tests.factories import World, client_of, make_bot, make_post

NEW = "/o/acme/connections/new/fake/"
CALLBACK = "/connect/callback/"
ENTERED = {"name": "Ours", "client_id": "id", "client_secret": "canary-secret"}


@pytest.fixture(autouse=True)
def _kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FACES, "fake", FAKE_KIND)
    monkeypatch.setattr(FakeFlow, "begun", [])
    monkeypatch.setattr(FakeFlow, "finished", [])


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


def depart(client: Client, **values: str) -> str:
    """Set out; the state that the platform sends back."""
    page = client.post(NEW, ENTERED | values)
    assert page.status_code == 200, page.content
    return state_of(page.context["begun"].url)


def state_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["state"][0]


def back(client: Client, state: str, **values: str) -> Any:
    return client.get(CALLBACK, {"state": state} | (values or {"code": "good"}))


def connections() -> int:
    return Connection.everyone.count()


def test_there_and_back_makes_a_connection(alice: Client, world: World) -> None:
    answered = back(alice, depart(alice))
    with tenant(world.acme.pk):
        made = Connection.objects.get()
        assert answered.headers["Location"] == f"/o/acme/connections/{made.pk}/"
        assert (made.name, made.account, made.settings) == ("Ours", "fake", {"client_id": "id"})
        assert made.secrets == {
            "client_secret": "canary-secret",
            "token": "token-of-good",
            "refresh_token": "canary-refresh",
        }


def test_the_form_says_where_things_are_found(alice: Client) -> None:
    shown = alice.get(NEW).content.decode()
    assert "Where do I find this?" in shown
    assert "enter the redirect URL there." in shown
    assert f"<code>{authorizations.callback_address()}</code>" in shown


def test_the_link_leads_away_and_the_form_does_not(alice: Client) -> None:
    page = alice.post(NEW, ENTERED)
    assert f'href="{page.context["begun"].url}" rel="noreferrer"' in page.content.decode()
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]


def test_a_token_that_is_entered_by_hand_needs_no_visit(alice: Client) -> None:
    assert alice.post(NEW, ENTERED | {"token": "by-hand"}).status_code == 302
    assert (connections(), FakeFlow.begun) == (1, [])


def test_one_answer_works_once(alice: Client) -> None:
    state = depart(alice)
    back(alice, state)
    again = back(alice, state)
    assert (again.status_code, connections(), FakeFlow.finished) == (400, 1, ["good"])
    assert "This was used already" in again.content.decode()


def test_two_windows_that_come_back_at_once_exchange_the_code_once(alice: Client, world: World) -> None:
    state = depart(alice)
    rows = [authorizations.arrived(state, world.alice.pk) for _ in range(2)]
    with tenant(world.acme.pk):
        authorizations.finish(rows[0], "good")
        with pytest.raises(authorizations.NotAuthorized, match="Another window"):
            authorizations.finish(rows[1], "good")
    assert FakeFlow.finished == ["good"]


def test_an_hour_is_enough_and_more_is_too_late(alice: Client) -> None:
    state = depart(alice)
    Authorization.everyone.update(expires_at=clock.now() - timedelta(seconds=1))
    late = back(alice, state)
    assert ("This took too long" in late.content.decode(), connections()) == (True, 0)


def test_the_hour_begins_when_the_person_sets_out(alice: Client) -> None:
    depart(alice)
    left = (Authorization.everyone.get().expires_at - clock.now()).total_seconds()
    assert left == pytest.approx(3600, abs=30)


@pytest.mark.parametrize(
    ("answer", "heading"),
    [
        ({"error": "access_denied"}, "Fake was not allowed"),
        ({"error": "invalid_scope", "error_description": "<b>x</b>"}, "Fake sent an error back"),
        ({"foo": "bar"}, "Fake sent an error back"),
    ],
    ids=["declined", "an error", "no code"],
)
def test_a_platform_that_says_no(alice: Client, answer: dict[str, str], heading: str) -> None:
    state = depart(alice)
    page = back(alice, state, **answer)
    assert (page.status_code, heading in page.content.decode(), connections()) == (400, True, 0)
    assert f'href="{NEW}"' in page.content.decode()
    assert "This was used already" in back(alice, state).content.decode()
    assert AuditEntry.everyone.filter(action="connection.refused").count() == 1


@pytest.mark.parametrize("harm", [lambda state: state[:-1] + "!", lambda _: "", lambda _: "0" * 75, lambda s: s[:32]])
def test_a_state_that_nobody_was_sent_with(alice: Client, harm: Any) -> None:
    page = back(alice, harm(depart(alice)), error="access_denied", error_description="evil words")
    assert (page.status_code, "was not begun here" in page.content.decode()) == (400, True)
    assert ("evil words" in page.content.decode(), FakeFlow.finished) == (False, [])


def test_nobody_else_can_finish_it(alice: Client, world: World) -> None:
    state = depart(alice)
    for stranger in (world.bob, world.charlie):
        page = back(client_of(stranger), state)
        assert (page.status_code, "Somebody else began this" in page.content.decode()) == (400, True)
    anonymous = back(Client(), state)
    assert (anonymous.status_code, anonymous.headers["Location"].split("?")[0]) == (302, "/sign-in/")
    assert (connections(), FakeFlow.finished) == (0, [])
    assert back(alice, state).status_code == 302


@pytest.mark.parametrize("lost", ["membership", "role"])
def test_who_may_not_connect_accounts_any_more_connects_nothing(alice: Client, world: World, lost: str) -> None:
    state = depart(alice)
    with tenant(world.acme.pk):
        membership = Membership.objects.filter(user=world.alice)
        membership.delete() if lost == "membership" else membership.update(role=Role.EDITOR)
    page = back(alice, state)
    assert (page.status_code, "may not connect accounts" in page.content.decode()) == (403, True)
    assert (connections(), FakeFlow.finished) == (0, [])


def test_a_code_that_the_platform_does_not_take(alice: Client) -> None:
    page = back(alice, depart(alice), code="bad")
    assert (page.status_code, connections()) == (400, 0)
    assert "Fake answered 400: the code is not valid." in page.content.decode()


def test_a_name_that_was_taken_meanwhile(alice: Client, world: World) -> None:
    assert alice.post(NEW, ENTERED).status_code == 200
    state = depart(alice)
    with tenant(world.acme.pk):
        create_connection("sandbox", "Ours")
    page = back(alice, state)
    assert (page.status_code, "choose another name" in page.content.decode()) == (400, True)
    assert alice.post(NEW, ENTERED).status_code == 400


def test_allowing_anew_keeps_posts_and_history(alice: Client, world: World) -> None:
    back(alice, depart(alice))
    with tenant(world.acme.pk):
        made = Connection.objects.get()
        post = make_post(make_bot(made), "published")
    page = alice.post(f"/o/acme/connections/{made.pk}/authorize/", {"client_id": "other"})
    settings, given, _ = FakeFlow.begun[-1]
    assert (settings, given) == ({"client_id": "other"}, {"client_secret": "canary-secret", "token": ""})
    back(alice, state_of(page.context["begun"].url), code="newer")
    with tenant(world.acme.pk):
        now = Connection.objects.get()
        assert (now.pk, now.settings["client_id"], now.secrets["token"]) == (made.pk, "other", "token-of-newer")
        assert now.posts.get() == post


def test_a_token_by_hand_leaves_nothing_of_the_old_one(alice: Client, world: World) -> None:
    back(alice, depart(alice))
    with tenant(world.acme.pk):
        made = Connection.objects.get()
        assert reconnect(made.pk, {"client_id": "renamed"}).secrets["refresh_token"] == "canary-refresh"
        changed = reconnect(made.pk, {"token": "by-hand"})
        assert changed.secrets == {"client_secret": "canary-secret", "token": "by-hand"}


def test_nothing_secret_is_shown_or_written_in_the_clear(alice: Client, world: World) -> None:
    state = depart(alice)
    with tenant(world.acme.pk):
        written = repr([Authorization.objects.get().__dict__, list(AuditEntry.objects.values())])
    back(alice, state)
    made = Connection.everyone.get()
    for address in ("/o/acme/connections/", f"/o/acme/connections/{made.pk}/", f"{API}{made.pk}/"):
        written += alice.get(address).content.decode()
    assert [word for word in ("canary", state[32:]) if word in written] == []


def test_attempts_that_ran_out_go_with_their_secrets(alice: Client) -> None:
    depart(alice)
    assert authorizations.forget_old() == 0
    with clock.simulated(clock.now() + timedelta(hours=2, minutes=1)):
        assert authorizations.forget_old() == 1
    assert not Authorization.everyone.exists()


API = "/api/v1/organizations/acme/connections/"


def test_over_the_api_the_address_to_visit_comes_back(alice: Client, world: World) -> None:
    with tenant(world.acme.pk):
        made = create_connection("fake", "Old", {"client_id": "id", "token": "by-hand"})
    answered = alice.post(f"{API}{made.pk}/authorize/", {}, content_type="application/json")
    assert (answered.status_code, sorted(answered.json())) == (202, ["expires_at", "visit"])
    back(alice, state_of(answered.json()["visit"]))
    with tenant(world.acme.pk):
        assert Connection.objects.get().secrets["token"] == "token-of-good"


def test_bad_values_are_said_before_anybody_is_sent_away(world: World) -> None:
    with tenant(world.acme.pk), pytest.raises(ValidationError, match="client_id"):
        authorizations.begin("fake", "Ours", {}, world.alice.pk)
    assert FakeFlow.begun == []
