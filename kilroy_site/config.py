"""Settings from the environment, parsed strictly.

Each variable is declared once in `VARIABLES`, with its parser, default and help. `load` refuses what it does not know
or cannot read, and names the variable, the value and what is accepted, so that a typing error never becomes a silent
default. Nothing here starts a server or touches a socket: importing the settings stays free of side effects, apart from
the secret key of a local installation, which is drawn once and kept.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilroy_site import config_parsing as parse
from kilroy_site.drawn_secrets import CREDENTIAL_KEY, SECRET_KEY, SECRET_KEY_LENGTH, DrawnSecret

BASE_DIR = Path(__file__).resolve().parent.parent

PREFIX = "KILROY_"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


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
    sign_up: str
    trusted_proxies: int
    oidc_url: str | None
    oidc_client_id: str
    oidc_secret: str
    oidc_name: str
    outbound_allow: frozenset[tuple[str, int]]
    faults: Mapping[str, float]
    api_bases: Mapping[str, str]

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the web process."""
        return self.host in LOOPBACK_HOSTS


VARIABLES: tuple[Variable, ...] = (
    Variable(
        "DATABASE_URL",
        "database_url",
        # The host may stand in the query (`?host=/run/postgresql`), as libpq has it.
        parse.url("postgresql", "postgres", host_needed=False),
        None,
        "postgresql://user:password@host:port/name",
        "PostgreSQL server; unset: the embedded one.",
    ),
    Variable(
        "REDIS_URL",
        "redis_url",
        parse.redis_url,
        None,
        "redis://host:port/number, rediss://… or unix:///path",
        "Redis server (broker, live events, cache); unset: the embedded one.",
    ),
    Variable(
        "HOST", "host", parse.host, "127.0.0.1", "a host name or an address", "Address the web process listens on."
    ),
    Variable(
        "PORT",
        "port",
        parse.integer(1, 65535),
        8000,
        "a whole number from 1 to 65535",
        "Port the web process listens on.",
    ),
    Variable(
        "KILROY_SECRET_KEY",
        "secret_key",
        parse.secret_key,
        "",
        f"at least {SECRET_KEY_LENGTH} characters",
        "Signs sessions and links; unset: drawn once and kept in the data folder (local installations only).",
    ),
    Variable(
        "KILROY_CREDENTIAL_KEYS",
        "credential_keys",
        parse.credential_keys,
        {},
        "name:key pairs separated by commas, each key 32 random bytes in base64",
        "Seal the credentials of connections, the first for new ones; unset: drawn once and kept in the data folder "
        "(local installations only).",
    ),
    Variable(
        "KILROY_OUTBOUND_ALLOW",
        "outbound_allow",
        parse.outbound_allow,
        frozenset(),
        "host:port pairs separated by commas",
        "Private addresses that user-given hosts (an instance, a webhook) may still resolve to.",
    ),
    Variable(
        "KILROY_DEBUG",
        "debug",
        parse.boolean,
        False,
        f"one of {', '.join(parse.TRUE + parse.FALSE)}",
        "Show tracebacks in the browser.",
    ),
    Variable(
        "KILROY_ALLOWED_HOSTS",
        "allowed_hosts",
        parse.allowed_hosts,
        (),
        "host names separated by commas",
        "Host names that the site answers to, besides this machine's own.",
    ),
    Variable(
        "KILROY_PUBLIC_URL",
        "public_url",
        parse.public_url,
        "",
        "http://host:port or https://host, without a path",
        "Address that people type; unset: http://HOST:PORT.",
    ),
    Variable("KILROY_VAR", "var", parse.folder, BASE_DIR / "var", "a folder", "Data folder."),
    Variable(
        "KILROY_TRAINING_THREADS",
        "training_threads",
        parse.integer(0, 1024),
        0,
        "a whole number from 0 to 1024",
        "Threads of the training worker; 0: one per core.",
    ),
    Variable(
        "KILROY_PUBLISHERS",
        "publishers",
        parse.integer(1, 256),
        4,
        "a whole number from 1 to 256",
        "Processes that publish and read: each waits for one platform at a time.",
    ),
    Variable(
        "KILROY_LOG_LEVEL",
        "log_level",
        parse.choice(*LOG_LEVELS),
        "INFO",
        f"one of {', '.join(LOG_LEVELS)}",
        "Least severe level that is logged.",
    ),
    Variable(
        "KILROY_DEMO",
        "demo",
        parse.boolean,
        True,
        f"one of {', '.join(parse.TRUE + parse.FALSE)}",
        "Whether `up` sets the demo bot up.",
    ),
    Variable(
        "KILROY_EMAIL_URL",
        "email_url",
        parse.url("smtp", "smtps"),
        None,
        "smtp://user:password@host:port or smtps://…",
        "Mail server; unset: mails are written to the log.",
    ),
    Variable(
        "KILROY_SIGN_UP",
        "sign_up",
        parse.word("open", "invited"),
        "open",
        "open or invited",
        "Who may make an account: everybody who reaches the site, or whom an organization invited.",
    ),
    Variable(
        "KILROY_TRUSTED_PROXIES",
        "trusted_proxies",
        parse.integer(0, 9),
        0,
        "a whole number from 0 to 9",
        "Proxies in front of the web process that add to X-Forwarded-For; 0: the header is never read.",
    ),
    Variable(
        "KILROY_OIDC_URL",
        "oidc_url",
        parse.url("https", "http"),
        None,
        "https://host/path of an OpenID Connect issuer",
        "Single sign-on: the provider's address, below which /.well-known/openid-configuration lies.",
    ),
    Variable(
        "KILROY_OIDC_CLIENT_ID", "oidc_client_id", str, "", "text", "Single sign-on: Kilroy's name at the provider."
    ),
    Variable("KILROY_OIDC_SECRET", "oidc_secret", str, "", "text", "Single sign-on: Kilroy's secret at the provider."),
    Variable(
        "KILROY_OIDC_NAME", "oidc_name", str, "Single sign-on", "text", "Single sign-on: the words on its button."
    ),
    Variable(
        "KILROY_FAULTS",
        "faults",
        parse.faults,
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
    if len({bool(values[field]) for field in ("oidc_url", "oidc_client_id", "oidc_secret")}) > 1:
        raise ConfigError(
            "Give KILROY_OIDC_URL, KILROY_OIDC_CLIENT_ID and KILROY_OIDC_SECRET together, or none of them."
        )
    local = values["debug"] or values["host"] in LOOPBACK_HOSTS
    if not values["secret_key"]:
        values["secret_key"] = _drawn(SECRET_KEY, values, local)
    if not values["credential_keys"]:
        values["credential_keys"] = parse.credential_keys(f"local:{_drawn(CREDENTIAL_KEY, values, local)}")
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
            bases[match[1].lower()] = parse.url("http", "https")(text.strip()).rstrip("/")
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
        shown = (
            "(hidden)"
            if variable.field in ("secret_key", "credential_keys", "oidc_secret")
            else repr(mask_password(text))
        )
        raise ConfigError(f"{variable.name}={shown} cannot be used: expected {variable.accepts}.") from None


def _reachable(host: str) -> str:
    """The host that a browser on this machine types: "any address" is no address to type."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # nosec B104 # shown, not listened on


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def mask_password(url: str) -> str:
    """`url` with its password replaced by stars, fit for a screen or a log. Text without a password comes back
    unchanged."""
    masked = re.sub(r"(//[^/@:\s]*):[^/\s]*@", r"\1:***@", url)
    return re.sub(r"([?&]password=)[^&\s]*", r"\1***", masked)
