"""Secrets are planted wherever Kilroy keeps one, everything that can fail is made to, and nobody meets them again."""

from __future__ import annotations

import base64
import itertools
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.core import mail
from django.core.cache import cache
from django.core.files.storage import default_storage
from django.db import connection as database
from django.db import transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts import exporting, invitations, webhook_sending, webhooks
from accounts.models import Export, Membership, Site, WebhookDelivery
from accounts.tenancy import tenant
from bots.services.delivery import take_down_post
from faces.contract import OutgoingImage, OutgoingPost
from faces.models import Connection
from faces.services import create_connection, store_connection
from kilroy_site.celery import app
from kilroy_site.settings import SINGLE_SIGN_ON
from tests.accounts.canary import Heard, forms_of, listening, of_database, of_redis
from tests.accounts.exported import entries
from tests.accounts.signing_in import add_authenticator_app
from tests.accounts.test_actors import _operators
from tests.accounts.test_oidc import CALLBACK, LOGIN
from tests.accounts.test_routes import _api_addresses
from tests.everything import Everything, make_everything
from tests.faces.loopback import Loopback, Reply, Request, serve
from tests.factories import PNG, World, client_of, make_bot, make_post, make_user, make_world
from tests.routes import PAGES, ids_of
from training import streaming

pytestmark = pytest.mark.django_db(transaction=True)
app.loader.import_default_modules()


class Planted(dict[str, str]):
    """Name → secret, each unlike anything else."""

    def plant(self, name: str, shape: str = "{}") -> str:
        self[name] = shape.format(secrets.token_hex(16))
        return self[name]


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.fixture
def heard() -> Iterator[Heard]:
    yield from listening(Heard())


STATUSES = (400, 401, 403, 404, 409, 422, 429, 500, 503)


@pytest.fixture
def platform(settings: Settings) -> Iterator[Loopback]:
    """A server that refuses everything and sends back all that it was asked with, in every field that is read."""
    statuses = itertools.cycle(STATUSES)

    def answer(request: Request) -> Reply:
        if request.path == "/.well-known/openid-configuration":  # it is an OpenID Connect provider, too
            found = {name: f"{server.url}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
            return Reply(data={"issuer": server.url, **found, "userinfo_endpoint": f"{server.url}/me"})
        said = " ".join((*request.headers.values(), request.path, request.body.decode("utf-8", "replace")))
        token = request.headers.get("authorization", "").partition(" ")[2]
        fields = ("error", "error_description", "message", "detail", "title", "description", "explanation")
        told: dict[str, Any] = dict.fromkeys(fields, f"{token} | {said}")
        told["errors"] = [{"message": token, "detail": said}]
        return Reply(next(statuses), told, headers={"X-Echo": token, "WWW-Authenticate": f'Bearer error="{token}"'})

    with serve() as server:
        server.answer = answer
        settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
        settings.API_BASES = dict.fromkeys(("telegram", "discord", "x", "reddit"), server.url)
        yield server


@pytest.fixture
def world(settings: Settings, tmp_path: Path, planted: Planted) -> World:
    settings.VAR = settings.MEDIA_ROOT = tmp_path
    settings.SECRET_KEY = planted.plant("the site's key")
    settings.CREDENTIAL_KEYS = {"one": planted.plant("a sealing key")[:32].encode()}
    planted["a sealing key"] = planted["a sealing key"][:32]
    broker = f"redis://:{planted.plant('password of Redis')}@redis.example"
    settings.SINGLE_SIGN_ON = settings.SINGLE_SIGN_ON | {"secret": planted.plant("the provider's secret")}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [settings.SINGLE_SIGN_ON]}}
    settings.DATABASE_URL = f"postgres://kilroy:{planted.plant('password of the database')}@db.example/kilroy"
    settings.EMAIL_HOST_PASSWORD, settings.SPARE_REDIS_URL = planted.plant("password of the mails"), broker
    return make_world()


@pytest.fixture
def made(world: World) -> Everything:
    with tenant(world.acme.pk):
        return make_everything()


@pytest.fixture
def connections(world: World, platform: Loopback, planted: Planted) -> list[Connection]:
    """One of each platform, its credentials entered in its own form, or as its own page gave them."""
    plant, later = planted.plant, (timezone.now() + timedelta(hours=1)).isoformat()
    with tenant(world.acme.pk):
        return [
            create_connection(
                "mastodon",
                "Mastodon",
                {"instance": platform.url, "access_token": plant("Mastodon", '{}/+=&"<a>')},
            ),
            create_connection(
                "bluesky",
                "Bluesky",
                {"host": platform.url, "identifier": "a.example", "app_password": plant("Bluesky", '{}/+=&"<a>')},
            ),
            create_connection("discord", "Discord", {"channel": "17", "token": plant("Discord", "{}.a-b")}),
            create_connection("telegram", "Telegram", {"chat": "@kilroy", "token": f"123456:{plant('Telegram')}"}),
            store_connection("reddit", "Reddit, to be renewed", {"subreddit": "test"}, _oauth("Reddit", "", planted)),
            store_connection("reddit", "Reddit", {"subreddit": "test"}, _oauth("Reddit", later, planted)),
            store_connection("x", "X, to be renewed", {"client_id": "public"}, _oauth("X", "", planted)),
            store_connection("x", "X", {"client_id": "public"}, _oauth("X", later, planted)),
            store_connection("mastodon", "With a line break", {"instance": platform.url}, _odd(planted, "{}\nX: 1")),
            store_connection("mastodon", "Of another script", {"instance": platform.url}, _odd(planted, "{}-ключ")),
        ]  # fmt: skip


def _oauth(name: str, until: str, planted: Planted) -> dict[str, Any]:
    parts = ("client_secret", "access_token", "refresh_token", *(["client_id"] if name == "Reddit" else []))
    known = {part: planted.plant(f"{name}: {part} {until[:1]}", "{}/+=") for part in parts}
    return {**known, "expires_at": until or (timezone.now() - timedelta(hours=1)).isoformat(), "scope": "*"}


def _odd(planted: Planted, shape: str) -> dict[str, str]:
    core = planted.plant(f"credentials like {shape}")
    return {"access_token": shape.format(core)}


def _factors(world: World, planted: Planted) -> None:
    planted["authenticator app"] = add_authenticator_app(world.alice)
    codes = RecoveryCodes.activate(world.alice)
    planted |= {f"recovery code {number}": code for number, code in enumerate(codes.get_unused_codes())}


def _programs(world: World, planted: Planted, platform: Loopback, heard: Heard) -> tuple[Client, dict[str, str]]:
    """A token, a webhook and an invitation, made over the API with keys that keep the answers for a day."""
    alice = client_of(world.alice)
    base = "/api/v1/organizations/acme/"

    def post(path: str, body: dict[str, Any]) -> Any:
        headers = {"Idempotency-Key": f"key-of-{path}"}
        return alice.post(base + path, body, content_type="application/json", headers=headers).json()

    token = post("tokens/", {"name": "A program"})["secret"]
    webhook = post("webhooks/", {"url": f"{platform.url}/hook", "events": ["post.published"]})
    planted |= {"token": token, "webhook": webhook["secret"].removeprefix("whsec_")}
    with tenant(world.acme.pk):
        webhooks.send_test(webhook["id"])
        invitations.invite(Membership.objects.get(user=world.alice), "dora@kilroy.example", "viewer")
    planted["invitation"] = str(mail.outbox[-1].body).split("/invitations/")[1].split("/")[0]
    answer = Client().get(f"/invitations/{planted['invitation']}/")  # follows the link: it is in this address alone
    heard.texts.append(("where an invitation leads", answer.headers["Location"]))
    with tenant(world.acme.pk):
        webhook_sending.take_turn(webhook["id"])
        WebhookDelivery.objects.update(next_attempt_at=timezone.now(), lease_until=None)
        webhook_sending.take_turn(webhook["id"])
    return alice, {"Authorization": f"Bearer {token}"}


BODIES = ("{}", "[]", '{"name": "\\u0000", "settings": 1, "bot": {}, "text": []', '{"name": "A", "settings": {}}')


def _ask_everything(world: World, made: Everything, alice: Client, brought: dict[str, str], heard: Heard) -> None:
    """Every address and method, with good and with bad input, by token and by session. What it changed is undone."""
    program, bodies = Client(raise_request_exception=False), itertools.cycle(BODIES)
    alice.raise_request_exception = False
    operator = client_of(make_user(is_staff=True, is_superuser=True))
    asked: list[tuple[Client, str, str, dict[str, Any]]] = []
    for route, method in _api_addresses():
        given = {} if method == "get" else {"data": next(bodies), "content_type": "application/json"}
        asked.append((program, method, route.url("acme", ids_of(made, route)), {"headers": brought, **given}))
    for route in PAGES:
        asked += [(alice, method, route.url("acme", ids_of(made, route)), {}) for method in ("get", "post")]
    asked += [(operator, "get", url, {}) for url in _operators(world, made)]
    for client, method, url, how in asked:
        with transaction.atomic():
            # A stream is read while its transaction lasts.
            heard.answer(f"{method} {url}", getattr(client, method)(url, **how))
            transaction.set_rollback(True)
    assert len(asked) > 300


def _sign_on(platform: Loopback, planted: Planted, settings: Settings, heard: Heard) -> None:
    """Single sign-on, to a provider that refuses the code and sends back what it was asked with."""
    its = {"client_id": "kilroy", "secret": planted["the provider's secret"]}
    one = SINGLE_SIGN_ON | its | {"settings": SINGLE_SIGN_ON["settings"] | {"server_url": platform.url}}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [one]}}
    client = Client(raise_request_exception=False)
    for _ in range(4):
        there = client.post(LOGIN).context["redirect_to"]
        (state,) = parse_qs(urlsplit(there).query)["state"]
        heard.answer("single sign-on", client.get(CALLBACK, {"code": "refused", "state": state}))
    assert any(its["secret"] in request.body.decode() for request in platform.requests)


def _let_faces_fail(found: Connection) -> None:
    """All that a platform is asked for, in services, tasks and over the API, and refuses."""
    face = found.face
    post = OutgoingPost("Hello", (OutgoingImage(PNG, "image/png", "A pixel"),))
    verbs: list[Callable[[], Any]] = [
        face.verify,
        lambda: face.publish(post, "key"),
        lambda: list(face.find("key", post, timezone.now())),
        lambda: face.delete("17:18:1" if found.kind in ("telegram", "discord") else "17"),
        lambda: face.metrics(["17:18:1" if found.kind in ("telegram", "discord") else "17"]),
        lambda: list(face.history(None)),
        lambda: list(face.inbox(None)),
        lambda: face.look_up("17"),
    ]
    for _ in range(2):
        for verb in verbs:
            try:
                verb()
            except Exception as error:  # what a worker would log
                logging.getLogger("a worker").exception("failed: %s", error)


def _let_tasks_fail(world: World, found: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """Publishing and checking by the tasks themselves, refused by the platform and then broken within; and what pages
    and API tell of it.
    """

    def broken(self: Any, session: Any, *args: Any, **how: Any) -> None:
        known = dict(found.secrets)  # a traceback with its frame's values would show these
        raise RuntimeError(f"a fault of ours, with {len(known)} secrets at hand")

    for fault in (False, True):
        if fault:
            monkeypatch.setattr("faces.http.Api._request", broken)
            monkeypatch.setattr("faces.kinds.reddit.one_request.OneRequest._sent", broken)
        with tenant(world.acme.pk):
            Connection.objects.update(state="connected", problem="", publish_after=None, read_after=None)
            bot = make_bot(found, name=f"Bot of {found.name} {fault}")
            post, gone = make_post(bot, "queued"), make_post(bot, "published", remote_id=f"17:18:{bot.pk.int % 10**9}")
        for task, pk in (
            ("bots.tasks.deliver_posts", post.pk),
            ("faces.tasks.check_connection", found.pk),
        ):
            app.tasks[task].apply((str(world.acme.pk), str(pk)), throw=False)
        app.tasks["bots.tasks.read_due_scores"].apply(throw=False)
        with tenant(world.acme.pk), suppress(Exception):
            take_down_post(gone.pk)
        client = Client(raise_request_exception=False)
        client.force_login(world.alice)
        of_it = f"connections/{found.pk}"
        for url in (f"/api/v1/organizations/acme/{of_it}/verify/", f"/o/acme/{of_it}/check/"):
            yield url, client.post(url)
            for path in (f"/o/acme/connections/{found.pk}/", f"/o/acme/posts/{post.pk}/", "/o/acme/needs-human/"):
                yield path, client.get(path)


def test_secrets_are_nowhere_but_sealed(
    world: World,
    planted: Planted,
    made: Everything,
    connections: list[Connection],
    platform: Loopback,
    heard: Heard,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "LONGEST", 0.1)  # no worker draws what streams wait for
    database.force_debug_cursor = True  # its log tells every statement
    _factors(world, planted)
    alice, brought = _programs(world, planted, platform, heard)
    _sign_on(platform, planted, settings, heard)
    for each in connections:
        with tenant(world.acme.pk):
            _let_faces_fail(each)
        with monkeypatch.context() as patched:
            for where, answer in _let_tasks_fail(world, each, patched):
                heard.answer(where, answer)
    database.force_debug_cursor = False
    _ask_everything(world, made, alice, brought, heard)
    with tenant(world.acme.pk):
        asked = exporting.request_export()
        exporting.make_export(asked.pk)
        stored = Export.objects.get(pk=asked.pk)
        assert stored.state == "ready", stored.error
        with default_storage.open(stored.name, "rb") as file:
            heard.texts += [
                (f"export: {name}", data.decode("utf-8", "replace")) for name, data in entries(file.read()).items()
            ]
    for path in (
        "/o/acme/settings/audit/",
        "/o/acme/settings/audit/export/?format=csv",
        "/o/acme/settings/audit/export/",
    ):
        heard.answer(path, alice.get(path))
    heard.answer("audit", alice.get("/api/v1/organizations/acme/audit/?limit=200"))
    heard.texts += [*of_redis(), *of_database()]
    heard.texts += [("mail", f"{message.subject} {message.body}") for message in mail.outbox[1:]]

    assert len(platform.requests) > 150
    assert heard.sightings(planted) == []


LEAKS: dict[str, Callable[[str], None]] = {
    "log of anybody": lambda secret: logging.getLogger("anybody").debug("with %s", secret),
    "log of a worker": lambda secret: _log_failure(secret),
    "Redis string": lambda secret: cache.set("leak", secret),
    "body of a message": lambda secret: app.send_task("bots.tasks.keep_pulse", args=[secret], expires=1),
    "table accounts_site": lambda secret: _ignored(Site.objects.update_or_create(pause_reason=secret)),
}


def _log_failure(secret: str) -> None:
    try:
        raise RuntimeError(f"Bearer {base64.b64encode(secret.encode()).decode()}")
    except RuntimeError:
        logging.getLogger("a worker").exception("failed")


def _ignored(made: object) -> None:
    """What a leak returns is nobody's business."""


@pytest.mark.parametrize("where", list(LEAKS))
def test_a_leak_would_be_seen(where: str, heard: Heard) -> None:
    secret = secrets.token_hex(16) + '/+=&"<a>'
    LEAKS[where](secret)
    heard.texts += [*of_redis(), *of_database()]
    assert where in {place for _, _, place in heard.sightings({"it": secret})}
    cache.delete("leak")


@pytest.mark.parametrize("form", list(forms_of("a secret of ours")))
def test_every_form_of_a_leak_would_be_seen(form: str) -> None:
    heard, secret = Heard(), secrets.token_hex(16) + '/+=&"<a>'
    heard.texts.append(("there", f"before {forms_of(secret)[form]} after"))
    assert ("it", form, "there") in heard.sightings({"it": secret})
