"""Parsers of the environment's variables: each takes the text, and returns its value or raises ValueError."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from kilroy_site.drawn_secrets import CREDENTIAL_KEY_BYTES, SECRET_KEY_LENGTH

TRUE = ("1", "true", "yes", "on")
FALSE = ("0", "false", "no", "off")
HOST_PATTERN = re.compile(r"^[A-Za-z0-9_.:\-\[\]]+$")
ALLOWED_HOST_PATTERN = re.compile(r"^(\*|\.?[A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:.]+\])$")


def boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered not in TRUE + FALSE:
        raise ValueError
    return lowered in TRUE


def integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return parse


def choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.upper() not in choices:
            raise ValueError
        return text.upper()

    return parse


def word(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return parse


def url(*schemes: str, host_needed: bool = True) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError when the port is no number
        if parts.scheme not in schemes or (host_needed and not parts.hostname):
            raise ValueError
        return text

    return parse


def redis_url(text: str) -> str:
    return url("redis", "rediss", "unix", host_needed=not text.startswith("unix:///"))(text)


def public_url(text: str) -> str:
    parts = urlsplit(url("http", "https")(text))
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError
    return text.rstrip("/")


def host(text: str) -> str:
    if not HOST_PATTERN.match(text):
        raise ValueError
    return text


def allowed_hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(part.strip() for part in text.split(","))
    if not all(ALLOWED_HOST_PATTERN.match(host) for host in hosts):
        raise ValueError
    return hosts


def secret_key(text: str) -> str:
    if len(text) < SECRET_KEY_LENGTH:
        raise ValueError
    return text


def credential_keys(text: str) -> Mapping[str, bytes]:
    keys = {}
    for part in text.split(","):
        name, _, key = part.strip().partition(":")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,20}", name) or name in keys:
            raise ValueError
        keys[name] = base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))
        if len(keys[name]) != CREDENTIAL_KEY_BYTES:
            raise ValueError
    return keys


def outbound_allow(text: str) -> frozenset[tuple[str, int]]:
    pairs = set()
    for part in text.split(","):
        host, _, port = part.strip().rpartition(":")
        if not HOST_PATTERN.match(host) or not re.fullmatch(r"[0-9]{1,5}", port):
            raise ValueError
        pairs.add((host.strip("[]").lower(), int(port)))
    return frozenset(pairs)


def faults(text: str) -> Mapping[str, float]:
    chances = {}
    for part in text.split(","):
        point, _, chance = part.strip().partition(":")
        if not re.fullmatch(r"[a-z_]+", point) or not 0 < float(chance) <= 1:
            raise ValueError
        chances[point] = float(chance)
    return chances


def folder(text: str) -> Path:
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError
    return path.resolve()
