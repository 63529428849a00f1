"""Settings from the environment, parsed strictly.

Each variable is declared once in `VARIABLES`, with its parser, default and help. `load` refuses what it does not know
or cannot read, and names the variable, the value and what is accepted, so that a typing error never becomes a silent
default. Nothing here starts a server or touches a socket: importing the settings stays free of side effects, apart from
the secret key of a local installation, which is drawn once and kept.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BASE_DIR = Path(__file__).resolve().parent.parent

PREFIX = "KILROY_"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SECRET_KEY_LENGTH = 50

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
    debug: bool
    allowed_hosts: tuple[str, ...]
    public_url: str
    var: Path
    training_threads: int
    log_level: str
    demo: bool
    email_url: str | None

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
)

NAMES = frozenset(variable.name for variable in VARIABLES)


def load(environ: Mapping[str, str]) -> Config:
    """Read the configuration from `environ`. An empty value counts as unset.

    Raises ConfigError for an unknown `KILROY_*` variable, a malformed value, or a secret key that is missing where one
    is needed.
    """
    _refuse_unknown(environ)
    values = {variable.field: _value(variable, environ) for variable in VARIABLES}
    if not values["secret_key"]:
        values["secret_key"] = _local_secret_key(values["var"], values["host"], debug=values["debug"])
    if not values["public_url"]:
        values["public_url"] = f"http://{_bracketed(_reachable(values['host']))}:{values['port']}"
    return Config(**values)


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in NAMES:
            close = difflib.get_close_matches(name, sorted(NAMES), n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(sorted(NAMES))}."
            raise ConfigError(f"{name}={environ[name]!r}: there is no such variable. {hint}")


def _value(variable: Variable, environ: Mapping[str, str]) -> Any:
    text = environ.get(variable.name, "").strip()
    if not text:
        return variable.default
    try:
        return variable.parse(text)
    except ValueError:
        shown = "(hidden)" if variable.field == "secret_key" else repr(mask_password(text))
        raise ConfigError(f"{variable.name}={shown} cannot be used: expected {variable.accepts}.") from None


def _local_secret_key(var: Path, host: str, *, debug: bool) -> str:
    if not debug and host not in LOOPBACK_HOSTS:
        raise ConfigError(
            f"KILROY_SECRET_KEY is not set, and HOST={host!r} can be reached from other machines: "
            f"give KILROY_SECRET_KEY with at least {SECRET_KEY_LENGTH} random characters."
        )
    path = var / "secret_key"
    try:
        var.mkdir(parents=True, exist_ok=True)
        return _read_or_draw(path)
    except OSError as error:
        raise ConfigError(
            f"KILROY_VAR={str(var)!r} cannot hold the secret key ({error.strerror}): "
            "name a folder that can be written, or give KILROY_SECRET_KEY."
        ) from None


def _read_or_draw(path: Path) -> str:
    """The key in `path`. Written aside and linked into place, so that two processes starting at once agree on one
    key."""
    if not path.exists():
        aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(SECRET_KEY_LENGTH))
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    key = path.read_text().strip()
    if len(key) < SECRET_KEY_LENGTH:
        raise ConfigError(f"{path} holds no usable secret key: delete the file to have a new one drawn.")
    return key


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
