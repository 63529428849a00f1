"""Settings from the environment, parsed strictly.

Each variable is declared once in `VARIABLES`, with its parser, default and help. `load` refuses what it does not know
or cannot read, and names the variable, the value and what is accepted, so that a typing error never becomes a silent
default. Nothing here starts a server or touches a socket: importing the settings stays free of side effects, apart from
the secret key of a local installation, which is drawn once and kept.
"""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kilroy_site.drawn_secrets import CREDENTIAL_KEY, CREDENTIAL_KEY_BYTES, SECRET_KEY, SECRET_KEY_LENGTH, DrawnSecret

BASE_DIR = Path(__file__).resolve().parent.parent

PREFIX = "KILROY_"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_HOST_PATTERN = re.compile(r"^[A-Za-z0-9_.:\-\[\]]+$")
_ALLOWED_HOST_PATTERN = re.compile(r"^(\*|\.?[A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:.]+\])$")


class ConfigError(Exception):
    """A variable of the environment is unknown, malformed or missing; the message says which and what is accepted."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: `parse` returns its value or raises ValueError; `accepts` finishes the sentence "expected …"."""

    name: str
    field: str
    parse: Callable[[str], Any]
    default: Any
    accepts: str
    help: str


@dataclass(frozen=True, slots=True)
class Config:
    """What the environment said, with defaults filled in. None for the URLs means: the embedded server."""

    database_url: str | None
    redis_url: str | None
    host: str
    port: int
    secret_key: str
    credential_keys: Mapping[str, bytes]
    debug: bool
    allowed_hosts: tuple[str, ...]
    public_url: str
    var: Path
    training_threads: int
    publishers: int
    log_level: str
    demo: bool
    email_url: str | None
    outbound_allow: frozenset[tuple[str, int]]
    faults: Mapping[str, float]
    api_bases: Mapping[str, str]

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the web process."""
        return self.host in LOOPBACK_HOSTS


def _boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered not in _TRUE + _FALSE:
        raise ValueError
    return lowered in _TRUE


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return parse


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.upper() not in choices:
            raise ValueError
        return text.upper()

    return parse


def _url(*schemes: str, host_needed: bool = True) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError when the port is no number
        if parts.scheme not in schemes or (host_needed and not parts.hostname):
            raise ValueError
        return text

    return parse


def _redis_url(text: str) -> str:
    return _url("redis", "rediss", "unix", host_needed=not text.startswith("unix:///"))(text)


def _public_url(text: str) -> str:
    parts = urlsplit(_url("http", "https")(text))
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError
    return text.rstrip("/")


def _host(text: str) -> str:
    if not _HOST_PATTERN.match(text):
        raise ValueError
    return text


def _allowed_hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(part.strip() for part in text.split(","))
    if not all(_ALLOWED_HOST_PATTERN.match(host) for host in hosts):
        raise ValueError
    return hosts


def _secret_key(text: str) -> str:
    if len(text) < SECRET_KEY_LENGTH:
        raise ValueError
    return text


def _credential_keys(text: str) -> Mapping[str, bytes]:
    keys = {}
    for part in text.split(","):
        name, _, key = part.strip().partition(":")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,20}", name) or name in keys:
            raise ValueError
        keys[name] = base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))
        if len(keys[name]) != CREDENTIAL_KEY_BYTES:
            raise ValueError
    return keys


def _outbound_allow(text: str) -> frozenset[tuple[str, int]]:
    pairs = set()
    for part in text.split(","):
        host, _, port = part.strip().rpartition(":")
        if not _HOST_PATTERN.match(host) or not re.fullmatch(r"[0-9]{1,5}", port):
            raise ValueError
        pairs.add((host.strip("[]").lower(), int(port)))
    return frozenset(pairs)


def _faults(text: str) -> Mapping[str, float]:
    chances = {}
    for part in text.split(","):
        point, _, chance = part.strip().partition(":")
        if not re.fullmatch(r"[a-z_]+", point) or not 0 < float(chance) <= 1:
            raise ValueError
        chances[point] = float(chance)
    return chances


def _folder(text: str) -> Path:
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError
    return path.resolve()


VARIABLES: tuple[Variable, ...] = (
    Variable(
        "DATABASE_URL",
        "database_url",
        # The host may stand in the query (`?host=/run/postgresql`), as libpq has it.
        _url("postgresql", "postgres", host_needed=False),
        None,
        "postgresql://user:password@host:port/name",
        "PostgreSQL server; unset: the embedded one.",
    ),
    Variable(
        "REDIS_URL",
        "redis_url",
        _redis_url,
        None,
        "redis://host:port/number, rediss://… or unix:///path",
        "Redis server (broker, channel layer, cache); unset: the embedded one.",
    ),
    Variable("HOST", "host", _host, "127.0.0.1", "a host name or an address", "Address the web process listens on."),
    Variable(
        "PORT", "port", _integer(1, 65535), 8000, "a whole number from 1 to 65535", "Port the web process listens on."
    ),
    Variable(
        "KILROY_SECRET_KEY",
        "secret_key",
        _secret_key,
        "",
        f"at least {SECRET_KEY_LENGTH} characters",
        "Signs sessions and links; unset: drawn once and kept in the data folder (local installations only).",
    ),
    Variable(
        "KILROY_CREDENTIAL_KEYS",
        "credential_keys",
        _credential_keys,
        {},
        "name:key pairs separated by commas, each key 32 random bytes in base64",
        "Seal the credentials of connections, the first for new ones; unset: drawn once and kept in the data folder "
        "(local installations only).",
    ),
    Variable(
        "KILROY_OUTBOUND_ALLOW",
        "outbound_allow",
        _outbound_allow,
        frozenset(),
        "host:port pairs separated by commas",
        "Private addresses that user-given hosts (an instance, a webhook) may still resolve to.",
    ),
    Variable(
        "KILROY_DEBUG",
        "debug",
        _boolean,
        False,
        f"one of {', '.join(_TRUE + _FALSE)}",
        "Show tracebacks in the browser.",
    ),
    Variable(
        "KILROY_ALLOWED_HOSTS",
        "allowed_hosts",
        _allowed_hosts,
        (),
        "host names separated by commas",
        "Host names that the site answers to, besides this machine's own.",
    ),
    Variable(
        "KILROY_PUBLIC_URL",
        "public_url",
        _public_url,
        "",
        "http://host:port or https://host, without a path",
        "Address that people type; unset: http://HOST:PORT.",
    ),
    Variable("KILROY_VAR", "var", _folder, BASE_DIR / "var", "a folder", "Data folder."),
    Variable(
        "KILROY_TRAINING_THREADS",
        "training_threads",
        _integer(0, 1024),
        0,
        "a whole number from 0 to 1024",
        "Threads of the training worker; 0: one per core.",
    ),
    Variable(
        "KILROY_PUBLISHERS",
        "publishers",
        _integer(1, 256),
        4,
        "a whole number from 1 to 256",
        "Processes that publish and read: each waits for one platform at a time.",
    ),
    Variable(
        "KILROY_LOG_LEVEL",
        "log_level",
        _choice(*LOG_LEVELS),
        "INFO",
        f"one of {', '.join(LOG_LEVELS)}",
        "Least severe level that is logged.",
    ),
    Variable(
        "KILROY_DEMO",
        "demo",
        _boolean,
        True,
        f"one of {', '.join(_TRUE + _FALSE)}",
        "Whether `up` sets the demo bot up.",
    ),
    Variable(
        "KILROY_EMAIL_URL",
        "email_url",
        _url("smtp", "smtps"),
        None,
        "smtp://user:password@host:port or smtps://…",
        "Mail server; unset: mails are written to the log.",
    ),
    Variable(
        "KILROY_FAULTS",
        "faults",
        _faults,
        {},
        "point:probability pairs separated by commas, and KILROY_DEBUG=1",
        "For tests of recovery: where and how often a process kills itself while it publishes.",
    ),
)

NAMES = frozenset(variable.name for variable in VARIABLES)
API_BASE = re.compile(r"KILROY_([A-Z0-9]+)_API_BASE")
"""Address of one face's platform, in place of the real one: any face may have one, also those of other packages."""


def load(environ: Mapping[str, str]) -> Config:
    """Read the configuration from `environ`. An empty value counts as unset.

    Raises ConfigError for an unknown `KILROY_*` variable, a malformed value, or a secret key that is missing where one
    is needed.
    """
    _refuse_unknown(environ)
    values = {variable.field: _value(variable, environ) for variable in VARIABLES}
    values["api_bases"] = _api_bases(environ)
    if values["faults"] and not values["debug"]:
        raise ConfigError("KILROY_FAULTS kills processes on purpose: it is for tests, and needs KILROY_DEBUG=1.")
    local = values["debug"] or values["host"] in LOOPBACK_HOSTS
    if not values["secret_key"]:
        values["secret_key"] = _drawn(SECRET_KEY, values, local)
    if not values["credential_keys"]:
        values["credential_keys"] = _credential_keys(f"local:{_drawn(CREDENTIAL_KEY, values, local)}")
    if not values["public_url"]:
        values["public_url"] = f"http://{_bracketed(_reachable(values['host']))}:{values['port']}"
    return Config(**values)


def _drawn(secret: DrawnSecret, values: Mapping[str, Any], local: bool) -> str:
    if not local:
        raise ConfigError(
            f"{secret.variable} is not set, and HOST={values['host']!r} can be reached from other machines: "
            f"give {secret.variable} with {secret.needed}."
        )
    try:
        return secret.read_or_draw(values["var"])
    except OSError as error:
        raise ConfigError(
            f"KILROY_VAR={str(values['var'])!r} cannot hold {secret.file} ({error.strerror}): "
            f"name a folder that can be written, or give {secret.variable}."
        ) from None
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in NAMES and not API_BASE.fullmatch(name):
            close = difflib.get_close_matches(name, sorted(NAMES), n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(sorted(NAMES))}."
            raise ConfigError(f"{name}={environ[name]!r}: there is no such variable. {hint}")


def _api_bases(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Face → address of its platform, without a slash at the end."""
    bases = {}
    for name, text in environ.items():
        match = API_BASE.fullmatch(name)
        if match is None or not text.strip():
            continue
        try:
            bases[match[1].lower()] = _url("http", "https")(text.strip()).rstrip("/")
        except ValueError:
            raise ConfigError(f"{name}={text!r}: expected http://host:port or https://host.") from None
    return bases


def _value(variable: Variable, environ: Mapping[str, str]) -> Any:
    text = environ.get(variable.name, "").strip()
    if not text:
        return variable.default
    try:
        return variable.parse(text)
    except ValueError:
        shown = "(hidden)" if variable.field in ("secret_key", "credential_keys") else repr(mask_password(text))
        raise ConfigError(f"{variable.name}={shown} cannot be used: expected {variable.accepts}.") from None


def _reachable(host: str) -> str:
    """The host that a browser on this machine types: "any address" is no address to type."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def mask_password(url: str) -> str:
    """`url` with its password replaced by stars, fit for a screen or a log. Text without a password comes back
    unchanged."""
    masked = re.sub(r"(//[^/@:\s]*):[^/\s]*@", r"\1:***@", url)
    return re.sub(r"([?&]password=)[^&\s]*", r"\1***", masked)
