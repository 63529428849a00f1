"""The site as a WSGI application whose every request is undone, with a look at each answer before that.

What a request would ring for once it commits never rings. Requests run in one thread of their own, in fresh contexts.
"""

from __future__ import annotations

import contextvars
import io
import random
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import got_request_exception, request_finished, request_started
from django.db import close_old_connections, connection, transaction

from tests.fuzz.worlds import Twin, digest

STRANGERS = 0.1
"""Share of requests that come from the other organization's token."""
MIXED = 0.3
"""Share of requests that may name rows of both organizations; the others name those of the address."""
_UUIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ORGANIZATION = re.compile(r"^/api/v1/organizations/([^/]+)/")


@dataclass
class Door:
    """`breaches`: what schemathesis cannot see."""

    twins: tuple[Twin, Twin]
    seed: int = 1
    cases: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    """Last line of a server error → what was asked, and its traceback."""

    def __post_init__(self) -> None:
        self._site = WSGIHandler()
        self._thread = ThreadPoolExecutor(1)
        self._whole = {twin.slug: self._asked(lambda twin=twin: digest(twin.organization.pk)) for twin in self.twins}
        got_request_exception.connect(self._note_error)
        for signal in (request_started, request_finished):
            signal.disconnect(close_old_connections)  # the transaction around a request would go with its connection

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, headers, body = self._asked(lambda: self._answer(environ))
        start_response(status, headers)
        return [body]

    def close(self) -> None:
        """Compare the organizations with what they were, and let go of the database."""
        got_request_exception.disconnect(self._note_error)
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)
        for twin in self.twins:
            if self._asked(lambda twin=twin: digest(twin.organization.pk)) != self._whole[twin.slug]:
                self.breaches.append(f"{twin.slug} is not what it was: something was not undone")
        self._asked(lambda: connection.close())
        self._thread.shutdown()

    def _asked(self, what: Callable[[], Any]) -> Any:
        return self._thread.submit(contextvars.Context().run, what).result()

    def _answer(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
        self.cases += 1
        chance = random.Random(f"{self.seed} {self.cases}")
        found = _ORGANIZATION.match(environ["PATH_INFO"])
        here = next((twin for twin in self.twins if found and twin.slug == found[1]), self.twins[0])
        there = next(twin for twin in self.twins if twin is not here)
        caller, other = (there, here) if chance.random() < STRANGERS else (here, there)
        environ |= {"HTTP_AUTHORIZATION": f"Bearer {caller.secret}", "HTTP_HOST": "localhost"}
        environ.pop("HTTP_COOKIE", None)
        if chance.random() >= MIXED:
            _name_rows_of(here, there, environ)
        self._present, asked = environ, _words(environ)
        with transaction.atomic():
            answer, status, headers = self._site_answers(environ)
            self._look(environ, asked, int(status[:3]), answer.decode("utf-8", "replace") + str(headers), other)
            transaction.set_rollback(True)
        return status, headers, answer

    def _look(self, environ: dict[str, Any], asked: str, code: int, told: str, other: Twin) -> None:
        """Note what an answer shows or did of the organization that did not ask."""
        self.statuses[code] = self.statuses.get(code, 0) + 1
        where = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']} {code}"
        found = _ORGANIZATION.match(environ["PATH_INFO"])
        wrote = code < 300 and environ["REQUEST_METHOD"] != "GET" and not connection.needs_rollback
        if wrote and digest(other.organization.pk) != self._whole[other.slug]:
            self.breaches.append(f"{where}: rows of {other.slug} changed")
        if found and found[1] == other.slug and code < 300:
            self.breaches.append(f"{where}: a stranger was let in")
        if leaked := (other.keys & set(_UUIDS.findall(told))) - set(_UUIDS.findall(asked)):
            self.breaches.append(f"{where}: shows rows of {other.slug}: {sorted(leaked)}")
        if other.mark in told.replace(other.slug, "") and other.mark not in asked.replace(other.slug, ""):
            self.breaches.append(f"{where}: shows texts of {other.slug}")

    def _site_answers(self, environ: dict[str, Any]) -> tuple[bytes, str, list[tuple[str, str]]]:
        begun: list[Any] = []
        chunks = self._site(environ, lambda status, headers, *_: begun.append((status, headers)))
        try:
            answer = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        status, headers = begun[0]
        return answer, status, headers

    def _note_error(self, **signal: Any) -> None:
        error = sys.exc_info()[1]
        told = "".join(traceback.format_exception(error))
        body = _words(self._present)[:1500]
        self.errors.setdefault(f"{type(error).__name__}: {str(error)[:200]}", f"{body}\n{told}")


def _words(environ: dict[str, Any]) -> str:
    """All that a request says."""
    raw = environ["wsgi.input"].read()
    environ["wsgi.input"] = io.BytesIO(raw)
    head = " ".join(f"{name}={value}" for name, value in environ.items() if name.isupper() and isinstance(value, str))
    return f"{head}\n{raw.decode('utf-8', 'replace')}"


def _name_rows_of(here: Twin, there: Twin, environ: dict[str, Any]) -> None:
    """Put the rows of one organization in the places of its twin's."""
    pairs = [
        pair
        for resource, theirs in there.ids.items()
        for pair in zip(theirs, here.ids[resource], strict=True)
        if len(pair[0]) == 36
    ]
    raw = environ["wsgi.input"].read()
    for theirs, ours in pairs:
        raw = raw.replace(theirs.encode(), ours.encode())
        for name in ("PATH_INFO", "QUERY_STRING"):
            environ[name] = environ[name].replace(theirs, ours)
    found = _ORGANIZATION.match(environ["PATH_INFO"])
    if found:  # numbers are no UUIDs: only in the address
        parts = environ["PATH_INFO"].split("/")
        theirs = there.ids.get(parts[5], []) if len(parts) > 6 else []
        if parts[6:7] and parts[6] in theirs:
            parts[6] = here.ids[parts[5]][theirs.index(parts[6])]
            environ["PATH_INFO"] = "/".join(parts)
    environ["wsgi.input"] = io.BytesIO(raw)
    environ["REQUEST_URI"] = environ["RAW_URI"] = quote(environ["PATH_INFO"])
