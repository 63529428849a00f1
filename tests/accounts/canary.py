"""Secrets that nobody may meet again, and all the places where one could: answers, logs, Redis, the database, mails."""

from __future__ import annotations

import base64
import html
import json
import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import redis
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection

from accounts.row_security import as_owner

SHORT = 12
"""Codes of fewer characters may be part of any number: they count as words only."""


def forms_of(secret: str) -> dict[str, str]:
    """A secret as it may be written down: form → text that would be found."""
    escaped = json.dumps(secret)[1:-1]
    found = {
        "plain": secret,
        "address": quote(secret, safe=""),
        "address, with slashes": quote(secret),
        "form": quote_plus(secret),
        "JSON": escaped,
        "JSON, escaped more": escaped.replace("/", "\\/"),
        "JSON in JSON": json.dumps(escaped)[1:-1],
        "HTML": html.escape(secret),
        "hexadecimal": secret.encode().hex(),
        "repr": repr(secret)[1:-1],
    }
    for shift in range(3):  # base64 of something that holds it depends on how many bytes stand before
        raw = base64.b64encode(b"\0" * shift + secret.encode()).decode()
        whole = (len(secret) + shift) // 3 * 4
        found[f"base64 after {shift}"] = raw[(4 if shift else 0) : whole].rstrip("=")
    return found


class Heard(logging.Handler):
    """Everything that anybody could have heard: (where, text), with all logs from DEBUG on."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.texts: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append((f"log of {record.name}", self.format(record)))

    def answer(self, where: str, response: Any) -> Any:
        body = b"".join(response) if response.streaming else response.content
        headers = "\n".join(f"{name}: {value}" for name, value in response.items())
        cookies = response.cookies.output()
        self.texts.append((where, "\n".join((headers, cookies, body.decode("utf-8", "replace")))))
        return response

    def sightings(self, secrets: dict[str, str]) -> list[tuple[str, str, str]]:
        """(secret's name, form, where) of each that is found."""
        # Pages and logs repeat themselves: each line is looked at once, and its whereabouts only if there is a need.
        everything = "\n".join({line for _, said in self.texts for line in said.split("\n")})
        found = set()
        for name, secret in secrets.items():
            if len(secret) < SHORT:
                pattern = re.compile(rf"\b{secret}\b")
                if pattern.search(everything):
                    found |= {(name, "plain", where) for where, said in self.texts if pattern.search(said)}
                continue
            for form, text in forms_of(secret).items():
                if text in everything:
                    found |= {(name, form, where) for where, said in self.texts if text in said}
        return sorted(found)


def listening(heard: Heard) -> Iterator[Heard]:
    """All loggers write to `heard`, at DEBUG, also those that were told to be quiet."""
    loggers = [logging.getLogger(), *(each for each in logging.root.manager.loggerDict.values() if _is_logger(each))]
    before = [(each, each.level, each.disabled, each.propagate) for each in loggers]
    for each in loggers:
        each.setLevel(logging.DEBUG)
        each.disabled, each.propagate = False, True
    logging.getLogger().addHandler(heard)
    try:
        yield heard
    finally:
        logging.getLogger().removeHandler(heard)
        for each, level, disabled, propagate in before:
            each.setLevel(level)
            each.disabled, each.propagate = disabled, propagate


def _is_logger(found: Any) -> bool:
    return isinstance(found, logging.Logger)


def of_redis() -> Iterator[tuple[str, str]]:
    """Everything that Redis holds: broker, cache, live streams."""
    ways = {
        "string": lambda key: client.get(key),
        "list": lambda key: client.lrange(key, 0, -1),
        "hash": lambda key: client.hgetall(key),
        "set": lambda key: client.smembers(key),
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        "stream": lambda key: client.xrange(key),
    }
    client = redis.Redis.from_url(settings.REDIS_URL)
    with client:
        for key in client.scan_iter(count=1000):
            kind = client.type(key).decode()
            value = ways[kind](key) if kind in ways else b""
            text = f"{key!r} {value!r}"
            yield f"Redis {kind}", text
            # A message of the broker carries its body in base64.
            for part in value if kind == "list" else ():
                yield "body of a message", base64.b64decode(json.loads(part)["body"]).decode()


def of_database() -> Iterator[tuple[str, str]]:
    """Every table as text, and what the sessions hold."""
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT coalesce(string_agg(to_jsonb(row)::text, chr(10)), '') FROM \"{table}\" row")
            yield f"table {table}", cursor.fetchone()[0]
    for session in Session.objects.all():
        yield "session", json.dumps(session.get_decoded())
