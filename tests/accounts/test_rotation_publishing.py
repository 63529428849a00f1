"""Keys are replaced several times while workers publish and renew their tokens: nothing fails and nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone
from pytest_django import Settings

from accounts import vault
from accounts.rotation import rotate_keys
from accounts.tenancy import tenant
from bots.models import Bot, Post
from bots.services import delivery
from faces.contract import OutgoingPost, Published
from faces.models import Connection
from faces.oauth import fresh_secrets
from faces.registry import FACES
from tests.factories import make_bot, make_connection, make_post, make_world
from tests.fake_platform import FakePlatform, StubKind, fake_face

pytestmark = pytest.mark.django_db(transaction=True)
ROTATIONS, WORKERS, PATIENCE = 4, 4, 30.0
Keys = dict[str, bytes]


class Rings(Mapping[str, bytes]):
    """A keyring for each thread, as each worker process has its own from when it was started."""

    def __init__(self, first: Keys) -> None:
        self._first, self._own = first, threading.local()

    def take(self, keys: Keys) -> None:
        self._own.keys = keys

    @property
    def _keys(self) -> Keys:
        return getattr(self._own, "keys", self._first)

    def __getitem__(self, name: str) -> bytes:
        return self._keys[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class Worker(threading.Thread):
    """Publishes one post after another; between two it is started anew with the keyring that was rolled out to it."""

    def __init__(self, bot: Bot, rings: Rings, keys: Keys) -> None:
        super().__init__(daemon=True)
        self.bot, self.rings, self.wanted = bot, rings, keys
        self.running: Keys | None = None
        self.states: list[str | None] = []
        self.fault: BaseException | None = None
        self.over = threading.Event()

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self.rings.take(keys := self.wanted)
                self.running = keys
                with tenant(self.bot.organization_id):
                    self.states.append(delivery.deliver_post(make_post(self.bot, "queued").pk))
        except BaseException as error:  # shown by the test: a thread's own would be lost
            self.fault = error
        finally:
            connections.close_all()

    def restart(self, keys: Keys) -> None:
        """Wait until the worker runs with these keys."""
        self.wanted, deadline = keys, time.monotonic() + PATIENCE
        while self.running is not keys and self.fault is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)


def _face(renewed: list[str]) -> type[Any]:
    class TokenFace(fake_face(FakePlatform())):  # type: ignore[misc]
        """Needs its credentials for every post, and renews its token at each one."""

        def publish(self, post: OutgoingPost, key: str) -> Published:
            def renew(known: dict[str, Any]) -> dict[str, Any]:
                return {**known, "token": f"token-{int(known['token'].partition('-')[2]) + 1}"}

            known = fresh_secrets(self.connection, renew, lambda known: True)
            assert known["refresh_token"] == f"refresh of {self.connection.name}"
            renewed.append(self.connection.name)
            return Published(key, "", timezone.now())

    return TokenFace


def test_posts_are_published_while_keys_are_replaced(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed: list[str] = []
    monkeypatch.setitem(FACES, "fake", StubKind(_face(renewed)))
    names = [f"key{number}" for number in range(ROTATIONS + 1)]
    keys = {name: bytes([number + 1]) * 32 for number, name in enumerate(names)}
    settings.CREDENTIAL_KEYS = rings = Rings({names[0]: keys[names[0]]})
    world, workers = make_world(), []
    for number in range(WORKERS):
        with tenant((world.acme if number % 2 else world.globex).pk):
            made = make_connection("fake", f"Connection {number // 2}")  # two workers share its name, not its row
            known = {"token": "token-0", "refresh_token": f"refresh of {made}"}
            made.credentials = vault.seal(made, "credentials", known)
            made.save()
            workers.append(Worker(make_bot(made), rings, {names[0]: keys[names[0]]}))
    # One more publishes through a connection that another one uses, too.
    workers.append(Worker(workers[0].bot, rings, {names[0]: keys[names[0]]}))
    for worker in workers:
        worker.start()
    published = []
    for old, new in pairwise(names):
        # docs/security.md: known everywhere, then first everywhere, then rotated, then alone.
        for ring in ({old: keys[old], new: keys[new]}, {new: keys[new], old: keys[old]}):
            for worker in workers:  # one after the other: some run with the keyring of before meanwhile
                worker.restart(ring)
        rings.take({new: keys[new], old: keys[old]})
        done = rotate_keys()
        assert done.unopened == []
        for worker in workers:
            worker.restart({new: keys[new]})
        published.append(sum(len(worker.states) for worker in workers))
    for worker in workers:
        worker.over.set()
        worker.join(PATIENCE)

    assert [worker.fault for worker in workers] == [None] * len(workers)
    assert {state for worker in workers for state in worker.states} == {"published"}
    assert all(earlier < later for earlier, later in pairwise(published))
    rings.take({names[-1]: keys[names[-1]]})
    # everyone: a test that looks at all organizations.
    found = Connection.everyone.all()
    assert {each.state for each in found} == {"connected"}
    tokens = []
    for each in found:
        with tenant(each.organization_id):
            tokens.append(int(Connection.objects.get(pk=each.pk).secrets["token"].partition("-")[2]))
    # everyone: as above.
    assert (
        sum(tokens)
        == len(renewed)
        == Post.everyone.filter(state="published").count()
        == sum(len(worker.states) for worker in workers)
    )
