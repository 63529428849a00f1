"""Live news: to those who may see what they are about, and to nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts import clock
from accounts.models import ApiToken, Membership, Organization, User
from accounts.tenancy import NoTenant, tenant
from accounts.tokens import create_token, revoke_token, rotate_token
from bots import consumers, live, live_hub, live_rights
from bots.live_rights import Identity
from bots.models import Bot
from bots.routing import websocket_urlpatterns
from tests.bots.live_client import Socket, Who, socket_of, tell, watching
from tests.factories import World, make_bot, make_run, make_world
from training.models import Run

pytestmark = pytest.mark.django_db(transaction=True)
MISSING = "00000000-0000-4000-8000-000000000000"
NOT_FOUND = {"type": "error", "code": "not_found", "detail": live_rights.NOT_FOUND.detail}
POST = {"type": "post", "post": "1", "state": "published"}


@pytest.fixture
def committed() -> World:
    return make_world()


@pytest.fixture
def run(committed: World) -> Run:
    with tenant(committed.acme.pk):
        return make_run(make_bot())


@pytest.fixture
def bot(run: Run) -> Bot:
    return run.bot


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_hub, "RECHECK_SECONDS", 0.05)


def topics(run: Run) -> dict[str, str]:
    return {"bot": f"bot:{run.bot_id}", "run": f"run:{run.pk}", "organization": "organization"}


def _token(world: World, user: User, scopes: list[str] | None = None) -> tuple[ApiToken, str]:
    membership = Membership.everyone.get(user=user)
    with tenant(membership.organization_id):
        return create_token(membership, "A program", scopes=scopes)


async def test_members_hear_the_news(committed: World, run: Run) -> None:
    """The viewer too: looking is what viewers do. An event of a run is heard on all three topics."""
    message = {"type": "run", "run": str(run.pk), "state": "running"}
    for user in (committed.alice, committed.bob):
        for topic in topics(run).values():
            async with watching(user, topic) as socket:
                await sync_to_async(tell)(run.bot, message)
                assert await socket.hear_data() == [{"bot": str(run.bot_id), **message}]


async def test_a_watcher_hears_only_of_what_it_subscribed_to(committed: World, bot: Bot) -> None:
    def another() -> Bot:
        with tenant(committed.acme.pk):
            return make_bot()

    other = await sync_to_async(another)()
    async with watching(committed.alice, f"bot:{bot.pk}") as socket:
        await sync_to_async(tell)(other, POST)
        await sync_to_async(tell)(bot, {"type": "bot", "paused": True})
        assert [data["type"] for data in await socket.hear_data()] == ["bot"]


async def test_the_organization_is_spared_what_only_a_closer_look_needs(committed: World, run: Run) -> None:
    async with watching(committed.alice, "organization") as socket:
        metrics = {"type": "metrics", "run": str(run.pk), "kind": "offline", "points": []}
        await sync_to_async(tell)(run.bot, metrics, POST)
        assert [data["type"] for data in await socket.hear_data()] == ["post"]


async def test_a_program_comes_with_a_token_in_the_header_or_in_its_first_message(committed: World, bot: Bot) -> None:
    _, secret = await sync_to_async(_token)(committed, committed.bob)
    async with socket_of(Who(token=secret, origin=None)) as socket:
        assert await socket.hear() == {"type": "hello", "protocol": 1, "authenticated": True}
    async with socket_of(Who(origin=None)) as socket:
        assert await socket.hear() == {"type": "hello", "protocol": 1, "authenticated": False}
        assert (await socket.subscribe("organization"))["code"] == "unauthenticated"
        answer = await socket.ask({"type": "authenticate", "id": "a", "token": secret})
        assert answer == {"type": "authenticated", "id": "a"}
        assert (await socket.subscribe(f"bot:{bot.pk}"))["type"] == "subscribed"
        await sync_to_async(tell)(bot, POST)
        assert await socket.hear_data() == [{"bot": str(bot.pk), **POST}]


async def test_a_token_hears_no_more_than_its_scopes(committed: World, run: Run) -> None:
    _, secret = await sync_to_async(_token)(committed, committed.alice, ["bot_view"])
    async with socket_of(Who(token=secret, origin=None)) as socket:
        await socket.hear()
        refused = {topic: (await socket.subscribe(name)).get("code") for topic, name in topics(run).items()}
        assert refused == {"bot": None, "run": "forbidden", "organization": "forbidden"}
        assert (await socket.subscribe(f"run:{MISSING}"))["code"] == "forbidden"  # says nothing of what is there
        of_the_run = {"type": "run", "run": str(run.pk), "state": "running"}
        await sync_to_async(tell)(run.bot, POST, of_the_run, {"type": "bot", "paused": False})
        assert [data["type"] for data in await socket.hear_data()] == ["bot"]


async def test_whoever_does_not_say_who_they_are_is_shown_out(
    committed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SECONDS_TO_AUTHENTICATE", 0.05)
    async with socket_of(Who()) as socket:
        assert (await socket.hear())["authenticated"] is False
        assert (await socket.hear())["code"] == "unauthenticated"
        assert await socket.hear() == {"close": 4401}


async def test_a_session_counts_only_on_a_page_of_ours(committed: World) -> None:
    """Another site's page is turned away; without an origin it is a program, which has no session."""
    foreign = Socket("/ws/o/acme/", await sync_to_async(Who(committed.alice, origin=b"https://evil.example").headers)())
    assert await foreign.connect() == {"type": "websocket.close"}
    await foreign.leave()
    async with socket_of(Who(committed.alice, origin=None)) as socket:
        assert await socket.hear() == {"type": "hello", "protocol": 1, "authenticated": False}


async def test_what_is_foreign_is_as_missing_as_what_never_was(committed: World, run: Run) -> None:
    def elsewhere() -> Run:
        with tenant(committed.globex.pk):
            return make_run(make_bot())

    foreign = await sync_to_async(elsewhere)()
    async with socket_of(Who(committed.alice)) as socket:
        await socket.hear()
        for name in (
            *(f"bot:{foreign.bot_id}", f"run:{foreign.pk}", f"bot:{MISSING}", f"run:{MISSING}", f"run:{run.bot_id}"),
            *("bot:", "bot:1", "organization:", f"organization:{committed.globex.pk}", "post:1", "", ":", "live:state"),
        ):
            assert await socket.subscribe(name) == {**NOT_FOUND, "id": 7}, name


def _end_session(world: World, user: User) -> None:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    for session in Session.objects.all():
        if session.get_decoded().get("_auth_user_id") == str(user.pk):
            store(session.session_key).delete()


def _remove(world: World, user: User) -> None:
    with tenant(world.acme.pk):
        Membership.objects.filter(user=user).delete()


def _deactivate(world: World, user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def _change_password(world: World, user: User) -> None:
    user.set_password("another one")
    user.save()


def _demand_mfa(world: World, user: User) -> None:
    Organization.objects.update(demands_mfa=True)


def _revoke(world: World, user: User) -> None:
    token = ApiToken.everyone.get()
    with tenant(token.organization_id):
        revoke_token(token.pk)


def _rotate(world: World, user: User) -> None:
    token = ApiToken.everyone.get()
    with tenant(token.organization_id):
        rotate_token(token.pk, token.membership)


def _expire(world: World, user: User) -> None:
    ApiToken.everyone.update(expires_at=clock.now() - timedelta(seconds=1))


LOSSES: dict[str, tuple[Callable[[World, User], None], bool, tuple[str, int]]] = {
    "removed": (_remove, False, ("not_found", 4404)),
    "deactivated": (_deactivate, False, ("not_found", 4404)),
    "signed out": (_end_session, False, ("unauthenticated", 4401)),
    "password changed": (_change_password, False, ("unauthenticated", 4401)),
    "second factor demanded": (_demand_mfa, False, ("forbidden", 4403)),
    "second factor demanded of a program": (_demand_mfa, True, ("forbidden", 4403)),
    "token revoked": (_revoke, True, ("unauthenticated", 4401)),
    "token given a new secret": (_rotate, True, ("unauthenticated", 4401)),
    "token expired": (_expire, True, ("unauthenticated", 4401)),
    "removed with a token": (_remove, True, ("unauthenticated", 4401)),
}


@pytest.mark.parametrize("loss", list(LOSSES))
async def test_whoever_loses_the_right_to_watch_is_cut_off(committed: World, run: Run, hasty: None, loss: str) -> None:
    take_away, by_token, (code, close) = LOSSES[loss]
    secret = (await sync_to_async(_token)(committed, committed.bob))[1] if by_token else ""
    who = Who(token=secret, origin=None) if by_token else Who(committed.bob)
    async with socket_of(who) as socket:
        await socket.hear()
        for name in topics(run).values():
            assert (await socket.subscribe(name))["type"] == "subscribed"
        await sync_to_async(take_away)(committed, committed.bob)
        assert (await socket.hear())["code"] == code
        assert await socket.hear() == {"close": close}


async def test_a_topic_ends_with_what_it_is_about(committed: World, run: Run, hasty: None) -> None:
    def delete() -> None:
        with tenant(committed.acme.pk):
            Run.objects.all().delete()

    async with watching(committed.bob, f"run:{run.pk}") as socket:
        assert (await socket.subscribe(f"bot:{run.bot_id}"))["type"] == "subscribed"
        await sync_to_async(delete)()
        closed = {"type": "closed", "topic": f"run:{run.pk}", "code": "not_found"}
        assert closed.items() <= (await socket.hear()).items()
        assert (await socket.hear())["type"] == "catch_up"  # what waited for it was dropped with all the rest
        await sync_to_async(tell)(run.bot, POST)
        assert await socket.hear_data() == [{"bot": str(run.bot_id), **POST}]


async def test_a_topic_ends_with_the_scope_for_it(committed: World, run: Run, hasty: None) -> None:
    token, secret = await sync_to_async(_token)(committed, committed.alice)

    def confine() -> None:
        ApiToken.everyone.filter(pk=token.pk).update(scopes=["run_view"])

    async with socket_of(Who(token=secret, origin=None)) as socket:
        await socket.hear()
        assert (await socket.subscribe(f"bot:{run.bot_id}"))["type"] == "subscribed"
        await sync_to_async(confine)()
        assert (await socket.hear())["code"] == "forbidden"


async def test_members_stay_connected(committed: World, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """After several looks at the right to watch, news still come."""
    monkeypatch.setattr(live_hub, "RECHECK_SECONDS", 0.01)
    looks: list[Any] = []
    ordinary = live_hub.look
    monkeypatch.setattr(live_hub, "look", lambda *arguments: looks.append(arguments) or ordinary(*arguments))
    async with watching(committed.bob, f"bot:{bot.pk}") as socket:
        while len(looks) < 5:
            assert (await socket.ask({"type": "ping"}))["type"] == "pong"
        await sync_to_async(tell)(bot, POST)
        assert await socket.hear_data() == [{"bot": str(bot.pk), **POST}]


def test_a_look_at_everybody_takes_a_few_queries(committed: World, run: Run) -> None:
    def ask(people: int) -> int:
        identities = {Identity(committed.acme.pk, number, session_key=str(number)) for number in range(people)}
        identities |= {Identity(committed.acme.pk, number, token_sha256=str(number)) for number in range(people)}
        wanted = {(committed.acme.pk, name) for name in (f"run:{run.pk}", f"bot:{run.bot_id}")}
        with CaptureQueriesContext(connection) as queries:
            live_hub.look(identities, wanted)
        return len(queries)

    assert (ask(1), ask(500)) == (5, 5)


async def _actors(world: World) -> AsyncIterator[tuple[str, Who, str]]:
    """Everybody, how they come, and what happens to them at the door."""
    yield "anonymous", Who(), "unauthenticated"
    yield "stranger", Who(world.charlie), "not_found"
    yield "viewer", Who(world.bob), "admitted"
    _, secret = await sync_to_async(_token)(world, world.bob)
    yield "viewer by token", Who(token=secret, origin=None), "admitted"
    await sync_to_async(_revoke)(world, world.bob)
    yield "revoked token", Who(token=secret, origin=None), "unauthenticated"
    headers = await sync_to_async(Who(world.bob).headers)()
    await sync_to_async(_end_session)(world, world.bob)
    revoked = Who()
    revoked.headers = lambda: headers  # type: ignore[method-assign]
    yield "revoked session", revoked, "unauthenticated"
    await sync_to_async(_remove)(world, world.bob)
    yield "removed member", Who(world.bob), "not_found"


@pytest.mark.parametrize("route", websocket_urlpatterns, ids=lambda route: str(route.pattern))
async def test_every_socket_lets_in_whom_it_should(committed: World, run: Run, route: Any) -> None:
    """Of every route of websockets, every topic, as everybody. A new route needs a test of its own: this one knows
    how to speak the live protocol.
    """
    assert str(route.pattern) == "ws/o/<slug:slug>/"
    found, wanted = {}, {}
    async for actor, who, expected in _actors(committed):
        async with socket_of(who) as socket:
            first = await socket.hear()
            if first["type"] == "error":
                found[actor] = [first["code"]] if "close" in await socket.hear() else ["left open"]
            else:
                answers = [await socket.subscribe(name) for name in topics(run).values()]
                found[actor] = [answer.get("code", answer["type"]) for answer in answers]
        wanted[actor] = ["subscribed"] * 3 if expected == "admitted" else [expected] * len(found[actor])
    assert found == wanted
    assert len(found) == 7


async def test_an_organization_that_is_not_ones_own_is_as_missing_as_none(committed: World) -> None:
    _, secret = await sync_to_async(_token)(committed, committed.charlie)
    for who in (Who(committed.charlie), Who(token=secret, origin=None)):
        for slug in ("acme", "no-such-place"):
            async with socket_of(who, slug) as socket:
                assert (await socket.hear(), await socket.hear()) == (NOT_FOUND, {"close": 4404})


def test_news_of_a_transaction_that_failed_are_never_told(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(live, "_send", told.append)
    with tenant(bot.organization_id):
        with transaction.atomic():
            live.tell(bot.pk, POST)
            assert told == []
            transaction.set_rollback(True)
        assert told == []
        live.tell(bot.pk, POST)
    assert [(event.topics, event.kind) for event in told] == [
        ((f"bot:{bot.pk}", f"organization:{bot.organization_id}"), "post")
    ]


def test_outside_of_a_tenant_and_of_unknown_things_nothing_is_told(bot: Bot) -> None:
    with pytest.raises(NoTenant):
        live.tell(bot.pk, POST)
    with tenant(bot.organization_id), pytest.raises(KeyError):
        live.tell(bot.pk, {"type": "gossip"})


def test_a_publisher_in_trouble_does_not_undo_the_work(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(live, "_send", down)
    with tenant(bot.organization_id), transaction.atomic():
        Bot.objects.update(name="Renamed")
        live.tell(bot.pk, {"type": "bot"})
    with tenant(bot.organization_id):
        assert Bot.objects.get().name == "Renamed"
