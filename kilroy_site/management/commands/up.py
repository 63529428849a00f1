"""`manage.py up`: run everything until Ctrl-C."""

from __future__ import annotations

import io
from typing import Any

from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from bots.services.restored import keep_pulse
from kilroy_site.config import Config
from kilroy_site.supervisor.supervisor import Supervisor, SupervisorError


class Command(BaseCommand):
    help = "Start the servers, the web process, the workers and the clock; stop them all on Ctrl-C."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        config: Config = settings.CONFIG
        supervisor = Supervisor(
            config,
            prepare=self._prepare,
            seed=lambda: self._seed(config),
            announce=lambda: self._announce(config),
        )
        try:
            supervisor.run()
        except SupervisorError as error:
            raise CommandError(str(error)) from error

    def _prepare(self) -> None:
        _quietly("migrate", interactive=False)
        # Before anything can be sent: a database that was restored from a backup pauses the installation.
        keep_pulse()
        connections.close_all()

    def _seed(self, config: Config) -> None:
        if config.demo and "seed_demo" in get_commands():
            _quietly("seed_demo")

    def _announce(self, config: Config) -> None:
        """The one line that people wait for."""
        line = f"Kilroy runs at {config.public_url}"
        if config.demo and "seed_demo" in get_commands():
            link = io.StringIO()
            call_command("sign_in_link", "--demo", stdout=link)
            line += f" - sign in to the demo: {link.getvalue().strip()}"
        self.stdout.write(f"{line} (Ctrl-C stops it)")
        self.stdout.flush()
        connections.close_all()


def _quietly(command: str, **options: Any) -> None:
    """Run a management command in this process; its words are shown only when it fails."""
    words = io.StringIO()
    try:
        call_command(command, stdout=words, stderr=words, **options)
    except Exception as error:
        said = words.getvalue().strip()
        reason = f"`manage.py {command}` failed: {type(error).__name__}: {error}".rstrip()
        raise SupervisorError(f"{reason}\n{said}".rstrip()) from error
    finally:
        connections.close_all()
