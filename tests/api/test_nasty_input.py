"""Nothing that anybody sends makes an error of the server: every address and method, with what nobody should send."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from accounts.parsers import StrictJSONParser
from tests.everything import Everything
from tests.factories import World, client_of
from tests.routes import API, Route, ids_of

JSON = "application/json"
FORM = "multipart/form-data; boundary=x"
BODIES: list[tuple[str, bytes]] = [
    (JSON, b"{"),
    (JSON, b"[]"),
    (JSON, b'"\\ud800"'),
    (JSON, b"\xff\xfe"),
    (JSON, b"[" * 100_000),
    (JSON, b"1" * 5_000),
    (JSON, b'{"a": 1e999, "b": NaN}'),
    (JSON, b'{"\\u0000": {"\\u0000": ["\\u0000"]}}'),
    ("application/json; charset=rot13", b'{"name": "x"}'),
    ("application/json; charset=utf-16", b'{"name": "x"}'),
    ("text/plain", b"name=x"),
    ("application/x-www-form-urlencoded", b"name=%00"),
    ("nonsense", b"{}"),
    ("", b"{}"),
    ("multipart/form-data", b"no boundary"),
    (FORM, b'--x\r\nContent-Disposition: form-data; name="file"; filename="\0"\r\n\r\n\0\r\n--x--\r\n'),
    (FORM, b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n\0\xff\r\n--x--\r\n'),
]
VALUES: list[Any] = [
    None, "", "\0", "x" * 100_000, "\u202e\ufeff", -(2**63), 2**63 - 1, 2**64, 1e308, -0.0, True, [], {}, [[None]],
    {"a": {"b": []}}, "00000000-0000-4000-8000-000000000000", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00",
    ["\0"], "-1", "NaN", "Infinity", ["x"] * 500,
]  # fmt: skip
QUERIES = ["%00", "%FF", "bot=%00", "cursor=%00", "cursor=%FF%FE", "page_size=99999999999999999999", "a[]=1", "=",
           "&&&", "ordering=%00", "after=%00", "after=99999999999999999999", "format=xml", "wait=%00"]  # fmt: skip
HEADERS: list[dict[str, str]] = [
    {"Accept": "text/html"},
    {"Accept": "application/json; indent=x"},
    {"If-Match": "\x01"},
    {"If-None-Match": '"' * 1_000},
    {"Idempotency-Key": "x" * 10_000},
    {"Content-Encoding": "gzip"},
    {"Authorization": "Bearer \xff\x00"},
    {"Range": "bytes=9-1"},
    {"Last-Event-ID": "\x00"},
    {"X-HTTP-Method-Override": "DELETE"},
]
IDS = ["%00", "%FF", "9" * 40, "-1", "x" * 2_000, "..;", "00000000-0000-4000-8000-00000000000g"]


@pytest.fixture
def alice(world: World) -> Client:
    client = client_of(world.alice)
    client.raise_request_exception = False
    return client


def send(client: Client, method: str, url: str, body: bytes = b"", kind: str = JSON, **headers: str) -> Any:
    """Ask, and undo what it changed."""
    with transaction.atomic():
        answer = client.generic(method.upper(), url, body, content_type=kind, headers=headers)
        transaction.set_rollback(True)
    return answer


def operations() -> list[tuple[Route, str]]:
    return [(route, method) for route in API for method in route.actions if method != "head"]


def is_calm(answer: Any) -> bool:
    """No error of the server, and whoever is refused reads a problem document."""
    if answer.status_code < 400:
        return True
    refused = answer.headers.get("Content-Type") == "application/problem+json" and json.loads(answer.content)["detail"]
    return answer.status_code < 500 and bool(refused)


def trouble(found: dict[Any, Any]) -> dict[Any, Any]:
    return {where: (answer.status_code, answer.content[:200]) for where, answer in found.items() if not is_calm(answer)}


def test_bodies_that_are_none(made: Everything, alice: Client) -> None:
    """Each address meets a part of the bodies, and each body every kind of address."""
    turns, found = itertools.cycle(range(6)), {}
    for route, method in operations():
        url = route.url("acme", ids_of(made, route))
        if method in ("post", "patch"):
            for kind, body in BODIES[next(turns) :: 6]:
                found[method, route.pattern, kind, body[:20]] = send(alice, method, url, body, kind)
    assert trouble(found) == {}
    assert len(found) > 200


@cache
def _fields() -> dict[tuple[str, str], list[str]]:
    """(Path, method) → the fields of its JSON body."""
    schema: Any = SchemaGenerator().get_schema(request=None, public=True)
    found = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema", {})
            name = content.get("$ref", "/").rsplit("/", 1)[1]
            found[path, method] = list(schema["components"]["schemas"].get(name, {}).get("properties", {}))
    return found


def _with_fields() -> Iterator[tuple[Route, str, list[str]]]:
    for route, method in operations():
        plain = "/" + route.pattern.replace("<slug:slug>", "{slug}").replace("<pk>", "{id}")
        fields = _fields().get((plain, method)) or _fields().get((plain.replace("{id}", "{pk}"), method)) or []
        if method in ("post", "patch") and fields:
            yield route, method, fields


def test_fields_that_hold_anything(made: Everything, alice: Client) -> None:
    turns, found = itertools.cycle(range(8)), {}
    for route, method, fields in _with_fields():
        url = route.url("acme", ids_of(made, route))
        for value in VALUES[next(turns) :: 8]:
            body = json.dumps(dict.fromkeys(fields, value)).encode()
            found[method, route.pattern, repr(value)[:30]] = send(alice, method, url, body)
        for number, field in enumerate(fields[:6]):
            value = VALUES[(next(turns) * 7 + number) % len(VALUES)]
            found[method, route.pattern, field, repr(value)[:30]] = send(
                alice, method, url, json.dumps({field: value}).encode()
            )
    assert trouble(found) == {}
    assert len(found) > 200


def test_parameters_and_headers_that_make_no_sense(made: Everything, alice: Client) -> None:
    turns, found = itertools.cycle(range(7)), {}
    for route, method in operations():
        url, turn = route.url("acme", ids_of(made, route)), next(turns)
        for query in QUERIES[turn::7] if method == "get" else QUERIES[turn::14]:
            found[method, route.pattern, query] = send(alice, method, f"{url}?{query}")
        headers = HEADERS[turn] if method == "get" else HEADERS[(turn + 3) % len(HEADERS)]
        found[method, route.pattern, str(headers)[:40]] = send(alice, method, url, b"{}", **headers)
    assert trouble(found) == {}


def test_ids_that_are_none(made: Everything, alice: Client) -> None:
    turns, found = itertools.cycle(range(3)), {}
    for route, method in operations():
        if "<pk>" in route.pattern:
            for given in IDS[next(turns) :: 3]:
                answer = send(alice, method, route.url("acme", {"pk": given}), b"{}")
                found[method, route.pattern, given[:40]] = answer
    assert trouble(found) == {}
    assert {answer.status_code for answer in found.values()} == {404}


def test_a_body_may_be_large_but_not_without_end(world: World, alice: Client, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    for headers in ({}, {"Idempotency-Key": "a-key"}):
        answer = send(alice, "post", "/api/v1/organizations/acme/bots/", b'{"name": "%s"}' % (b"x" * 1_000), **headers)
        assert (answer.status_code, "1,000 bytes" in answer.json()["detail"]) == (413, True)


def test_what_json_allows_and_the_database_does_not_is_told_in_words(world: World, alice: Client) -> None:
    for body, words in (
        (b'{"name": "a\\u0000b"}', "NUL"),
        (b'{"name": "\\ud800"}', "surrogate"),
        (b'{"name": 9223372036854775808}', "64 bits"),
        (b'{"name": 1e999}', "too large"),
        (b"[" * 100_000, "deep"),
        (b"{", "JSON"),
    ):
        answer = send(alice, "post", "/api/v1/organizations/acme/bots/", body)
        assert (answer.status_code, words in answer.json()["detail"]) == (400, True), answer.content


def test_every_view_reads_json_strictly() -> None:
    for route in API:
        kinds = route.view.initkwargs.get("parser_classes", route.view.cls.parser_classes)
        json_parsers = [kind for kind in kinds if kind.media_type == JSON]
        assert all(issubclass(kind, StrictJSONParser) for kind in json_parsers), route.pattern
