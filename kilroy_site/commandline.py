"""What `manage.py` does around Django's own command line.

A mistake in the environment is one line, not a traceback; and a command that reads or writes data finds the embedded
servers running, whether `up` runs them or not.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext

from kilroy_site.config import Config, ConfigError, load
from kilroy_site.embedded.running import needed, running
from kilroy_site.embedded.server import ServerError
from kilroy_site.supervisor import state

WITHOUT_SERVERS = frozenset(
    {"", "--help", "--version", "check", "collectstatic", "diffsettings", "findstatic", "help", "makemessages"}
    | {"makemigrations", "spectacular", "sqlmigrate", "startapp", "status", "test", "up", "version"}
)
"""Commands that manage the servers themselves or touch no data."""

USAGE_ERROR = 2


def main(arguments: list[str]) -> int:
    """Run one command of `manage.py`; returns the exit code."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kilroy_site.settings")
    from django.core.management import execute_from_command_line

    command = arguments[1] if len(arguments) > 1 else ""
    alone = command in WITHOUT_SERVERS or {"-h", "--help"} & set(arguments)
    try:
        config = load(os.environ)
        if not alone:
            _speak_of_what_runs(config)
        with nullcontext() if alone else running(needed(config), config.var):
            execute_from_command_line(arguments)
    except (ConfigError, ServerError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - there is no command yet that could say it
        return USAGE_ERROR
    return 0


def _speak_of_what_runs(config: Config) -> None:
    """Let links that a command prints lead to the running site, whichever port it was started on."""
    found = state.read(config.var)
    if found is not None and not {"HOST", "PORT", "KILROY_PUBLIC_URL"} & set(os.environ):
        os.environ["KILROY_PUBLIC_URL"] = found.address
