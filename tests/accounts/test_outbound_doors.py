"""Hostile addresses, entered where people enter addresses, against real listeners on this machine: nobody knocks."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import urllib3.util.connection
from django.core.exceptions import ValidationError
from pytest_django import Settings

from accounts import webhook_sending, webhooks
from accounts.models import Webhook
from accounts.tenancy import tenant
from faces.contract import FaceError
from faces.services import create_connection
from tests.faces.loopback import Loopback, Reply, serve
from tests.factories import World


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serve() as loopback:
        yield loopback


# What a person types as the address of a webhook, a Mastodon instance or a Bluesky server, to be let in where only we
# may be: `{port}` is a port of this machine where somebody listens.

HOSTILE = [
    # this machine, by other names and notations
    "https://127.0.0.1:{port}",
    "https://127.1:{port}",
    "https://127.255.255.254:{port}",
    "https://2130706433:{port}",
    "https://0177.0.0.1:{port}",
    "https://017700000001:{port}",
    "https://0x7f.1:{port}",
    "https://0x7f000001:{port}",
    "https://0x7F.0x0.0x0.0x1:{port}",
    "https://0:{port}",
    "https://0.0.0.0:{port}",
    "https://127.0.0.1.:{port}",
    "https://localhost:{port}",
    "https://LOCALHOST.:{port}",
    "https://127。0。0。1:{port}",
    "https://①②⑦.⓪.⓪.①:{port}",
    "https://127%2e0%2e0%2e1:{port}",
    "https://%6c%6f%63%61%6c%68%6f%73%74:{port}",
    "https://[::1]:{port}",
    "https://[0:0:0:0:0:0:0:1]:{port}",
    "https://[::]:{port}",
    "https://[::1%25lo]:{port}",
    "https://[::1%lo]:{port}",
    # IPv4 within IPv6: mapped, compatible, translated, 6to4, Teredo, NAT64
    "https://[::ffff:127.0.0.1]:{port}",
    "https://[::ffff:7f00:1]:{port}",
    "https://[::127.0.0.1]:{port}",
    "https://[::ffff:0:127.0.0.1]:{port}",
    "https://[2002:7f00:1::]:{port}",
    "https://[2001:0:7f00:1::80ff:fffe]:{port}",
    "https://[64:ff9b::7f00:1]:{port}",
    "https://[64:ff9b:1::7f00:1]:{port}",
    # other addresses that are no business of the public
    "https://169.254.169.254:{port}",
    "https://[::ffff:169.254.169.254]:{port}",
    "https://[64:ff9b::a9fe:a9fe]:{port}",
    "https://[fd00:ec2::254]:{port}",
    "https://10.0.0.1:{port}",
    "https://172.16.0.1:{port}",
    "https://192.168.0.1:{port}",
    "https://100.64.0.1:{port}",
    "https://255.255.255.255:{port}",
    "https://224.0.0.1:{port}",
    "https://240.0.0.1:{port}",
    "https://198.18.0.1:{port}",
    "https://[fe80::1%25lo]:{port}",
    "https://[fe80::1]:{port}",
    "https://[fc00::1]:{port}",
    "https://[ff02::1]:{port}",
    # names that lead there
    "https://private.example:{port}",
    "https://private6.example:{port}",
    "https://mixed.example:{port}",
    "https://mixed6.example:{port}",
    "https://rebinding.example:{port}",
    "https://metadata.example:{port}",
    # what one parser reads otherwise than another
    "https://public.example@127.0.0.1:{port}",
    "https://public.example:pw@127.0.0.1:{port}",
    "https://127.0.0.1:{port}@public.example",
    "https://127.0.0.1:{port}\\@public.example",
    "https://public.example\\@127.0.0.1:{port}",
    "https://public.example#@127.0.0.1:{port}",
    "https://127.0.0.1:{port}#.public.example",
    "https://127.0.0.1:{port}?.public.example",
    "https://127.0.0.1\r\n:{port}",
    "https://127.0.0.1:{port}\r\nHost: public.example",
    "https://127.0.0.1:{port}\t",
    "https://\t127.0.0.1:{port}",
    "https://127.0.0.1:{port}\0.public.example",
    "https://127.0.0.1 :{port}",
    "https:///127.0.0.1:{port}",
    "https:127.0.0.1:{port}",
    "https://[127.0.0.1]:{port}",
    "https://127.0.0.1:{port}:443",
    "https://127.0.0.1:0{port}",
    # other schemes
    "http://127.0.0.1:{port}",
    "HTTP://127.0.0.1:{port}",
    "ftp://127.0.0.1:{port}",
    "file://127.0.0.1:{port}",
    "gopher://127.0.0.1:{port}",
    "ws://127.0.0.1:{port}",
    "unix://127.0.0.1:{port}",
    "//127.0.0.1:{port}",
    "jar:https://127.0.0.1:{port}!",
]
PUBLIC = "93.184.216.34"
NAMES = {
    "public.example": [PUBLIC],
    "private.example": ["127.0.0.1"],
    "private6.example": ["::1"],
    "mixed.example": [PUBLIC, "127.0.0.1"],
    "mixed6.example": ["2606:2800:220:1:248:1893:25c8:1946", "::1"],
    "metadata.example": ["169.254.169.254"],
}


@dataclass
class Listener:
    """Ears on this machine, at one port of IPv4 and IPv6."""

    port: int
    heard: list[Any] = field(default_factory=list)

    def strangers(self) -> int:
        """How many knocked since the last look. Who knocks last is heard last: these two are ours."""
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, self.port)) as own:
                name, deadline = own.getsockname()[:2], time.monotonic() + 5
                while name not in self.heard and time.monotonic() < deadline:
                    time.sleep(0.001)
                self.heard.remove(name)
        found = len(self.heard)
        self.heard.clear()
        return found


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    four = socket.create_server(("0.0.0.0", 0))
    six = socket.create_server(("::", four.getsockname()[1]), family=socket.AF_INET6)
    found, ended = Listener(four.getsockname()[1]), threading.Event()

    def listen(ear: socket.socket) -> None:
        while not ended.is_set():
            caller, name = ear.accept()
            caller.close()
            found.heard.append(name[:2])

    threads = [threading.Thread(target=listen, args=(ear,), daemon=True) for ear in (four, six)]
    for thread in threads:
        thread.start()
    yield found
    ended.set()
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, found.port)).close()
    for thread, ear in zip(threads, (four, six), strict=True):
        thread.join(5)
        ear.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A resolver for the names above, and for no others; every notation of an address is the real one's to read.
    `rebinding.example` is public when it is asked for the first time, and private from then on: the times that it was
    are what this returns. Public addresses refuse every connection.
    """
    asked: list[str] = []
    real, connect = socket.getaddrinfo, urllib3.util.connection.create_connection

    def resolve(host: Any, port: Any, *args: Any, **how: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name == "rebinding.example":
            asked.append(name)
            found = [PUBLIC if len(asked) == 1 else "127.0.0.1"]
        elif name in NAMES:
            found = NAMES[name]
        elif name.lower().rstrip(".") == "localhost":
            return real(host, port, *args, **how)
        else:
            return real(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in found
        ]

    def connected(address: tuple[str, int], *args: Any, **how: Any) -> Any:
        if address[0] == PUBLIC:
            raise ConnectionRefusedError
        return connect(address, *args, **how)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(urllib3.util.connection, "create_connection", connected)
    return asked


def through_a_new_webhook(address: str) -> str:
    webhook, _ = webhooks.create_webhook(f"{address}/hook", ["post.published"])
    return sent_to(webhook)


def through_a_known_webhook(address: str) -> str:
    """As when the name was public on the day that it was entered."""
    webhook, _ = webhooks.create_webhook(f"https://{PUBLIC}/hook", ["post.published"])
    Webhook.objects.filter(pk=webhook.pk).update(url=f"{address}/hook".replace("\0", ""))
    return sent_to(webhook)


def sent_to(webhook: Webhook) -> str:
    webhooks.emit("post.published", {})
    webhook_sending.take_turn(webhook.pk)
    (entry,) = webhook.deliveries.get().log
    return str(entry["error"] or entry["status"])


def through_mastodon(address: str) -> str:
    create_connection("mastodon", "M", {"instance": address, "access_token": "t"}).face.verify()
    return ""


def through_bluesky(address: str) -> str:
    settings = {"host": address, "identifier": "alice.example", "app_password": "abcd-efgh"}
    create_connection("bluesky", "B", settings).face.verify()
    return ""


DOORS = [through_a_new_webhook, through_a_known_webhook, through_mastodon, through_bluesky]


def told_by(door: Callable[[str], str], address: str) -> str:
    """What the person reads."""
    try:
        return door(address)
    except ValidationError as error:
        return " ".join(error.messages)
    except FaceError as error:
        return str(error)


def is_a_sentence(words: str) -> bool:
    plain = not any(sign in words for sign in ("Traceback", "object at", "HTTPSConnection", "Errno", "Error("))
    return plain and len(words.split()) > 4 and words.rstrip("”").endswith(".") and "\n" not in words.strip()


@pytest.fixture
def in_acme(world: World) -> Iterator[World]:
    with tenant(world.acme.pk):
        yield world


def test_there_are_enough_hostile_addresses() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 40


@pytest.mark.parametrize("address", HOSTILE)
def test_no_address_that_a_person_enters_leads_to_this_machine(
    address: str, listener: Listener, asked: list[str], in_acme: World
) -> None:
    hostile, told = address.replace("{port}", str(listener.port)), {}
    for door in DOORS:
        asked.clear()
        told[door.__name__] = told_by(door, hostile)
    assert {door: words for door, words in told.items() if not is_a_sentence(words)} == {}
    assert listener.strangers() == 0


def test_the_listener_hears(listener: Listener) -> None:
    assert listener.strangers() == 0
    for host in ("127.0.0.1", "127.0.0.2", "::1"):
        socket.create_connection((host, listener.port)).close()
    assert listener.strangers() == 3
    assert listener.strangers() == 0


@pytest.mark.parametrize("door", DOORS[1:])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_leads_to_this_machine(
    status: int, door: Callable[[str], str], listener: Listener, server: Loopback, settings: Settings, in_acme: World
) -> None:
    """The server that redirects is one that the operator has opened, so that it is reached."""
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
    there = f"http://127.0.0.1:{listener.port}/secret"
    server.answer = lambda request: Reply(status, headers={"Location": there})
    told = told_by(door, server.url)
    assert str(status) in told
    assert server.requests
    assert listener.strangers() == 0
