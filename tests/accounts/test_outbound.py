"""No request of ours reaches a private address, however its host is written."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from pytest_django import Settings

from accounts import outbound
from accounts.outbound import Forbidden
from tests.faces.loopback import Loopback, Reply, serve

PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "localhost",
    "localhost.",
    "[::]",
    "[::1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::80ff:fffe]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[2001:db8::1]",
    "[fec0::1]",
    "[5f00::1]",
    "[3fff::1]",
    "[100::1]",
    "192.88.99.1",
]


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serve() as loopback:
        yield loopback


def resolving_to(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    """Let names resolve to the answers, one after the other, the last one for good."""
    left = list(answers)
    real = socket.getaddrinfo

    def answer(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "name.example":
            return real(host, port, *args, **kwargs)
        address = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
def test_a_private_address_is_refused_before_a_connection(host: str, server: Loopback) -> None:
    with pytest.raises((Forbidden, requests.ConnectionError)):
        outbound.session().get(f"https://{host}:{server.port}/", timeout=2)
    assert server.requests == []


@pytest.mark.parametrize("host", [host for host in PRIVATE_HOSTS if host != "localhost."])
def test_every_private_address_is_known_as_one(host: str) -> None:
    with pytest.raises(Forbidden, match="no public address"):
        outbound.check_url(f"https://{host}/")


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "8.8.8.8"])
def test_a_public_address_is_allowed(address: str) -> None:
    url = f"https://[{address}]/" if ":" in address else f"https://{address}/"
    assert outbound.check_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "https://user:pw@example.org/",
        "ftp://example.org/",
        "https://",
        "https://a:b/",
        "//x",
        "",
    ],
)
def test_only_plain_https_addresses_are_taken(url: str) -> None:
    with pytest.raises(Forbidden):
        outbound.check_url(url)


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 443)) for a in ("93.184.216.34", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: both)
    with pytest.raises(Forbidden, match=r"127\.0\.0\.1"):
        outbound.check_url("https://name.example/")


def test_a_name_that_answers_differently_the_second_time_wins_nothing(
    monkeypatch: pytest.MonkeyPatch, server: Loopback
) -> None:
    resolving_to(monkeypatch, "192.0.2.1", "127.0.0.1")
    monkeypatch.setattr(outbound, "is_public", lambda address: str(address) == "192.0.2.1")
    with pytest.raises(requests.ConnectionError):
        outbound.session().get(f"https://name.example:{server.port}/", timeout=0.2)
    assert server.requests == []


def test_an_operator_can_open_a_single_address(
    monkeypatch: pytest.MonkeyPatch, server: Loopback, settings: Settings
) -> None:
    resolving_to(monkeypatch, "127.0.0.1")
    settings.OUTBOUND_ALLOW = frozenset({("name.example", server.port)})
    outbound.session().get(f"http://name.example:{server.port}/a?b=c", timeout=5)
    (request,) = server.requests
    assert (request.path, request.query, request.headers["host"]) == (
        "/a",
        {"b": ["c"]},
        f"name.example:{server.port}",
    )
    with pytest.raises(Forbidden):
        outbound.session().get(f"http://name.example:{server.port + 1}/", timeout=5)


def test_a_redirect_is_not_followed(server: Loopback, settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
    server.answer = lambda request: Reply(302, headers={"Location": f"{server.url}/secret"})
    answer = outbound.session().get(f"{server.url}/", timeout=5)
    assert answer.status_code == 302
    assert [request.path for request in server.requests] == ["/"]
