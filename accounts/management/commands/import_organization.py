"""`manage.py import_organization`: an exported organization becomes a new one of this installation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import audit
from accounts.exports import ImportRefused
from accounts.imports import import_organization
from accounts.models import User


class Command(BaseCommand):
    help = "Make an organization of an exported one. Everything is taken, or nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="The zip of an export.")
        parser.add_argument("--owner", required=True, metavar="EMAIL", help="Who owns it here; must have an account.")
        parser.add_argument("--slug", default="", help="What stands in its pages' addresses; else made of its name.")

    def handle(self, *args: Any, file: Path, owner: str, slug: str, **options: Any) -> None:
        person = User.objects.filter(email__iexact=owner, is_active=True).first()
        if person is None:
            raise CommandError(f"There is nobody with the address {owner}: let them sign up first.")
        try:
            with file.open("rb") as stream, audit.acting(audit.Actor("manage.py import_organization")):
                arrived = import_organization(stream, person, slug=slug)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
        except ImportRefused as refusal:
            raise CommandError(str(refusal)) from None
        rows = sum(arrived.rows.values())
        self.stdout.write(f"Imported {arrived.organization.name} as /o/{arrived.organization.slug}/: {rows:,} rows.")
        self.stdout.write("Its bots are paused, and its connections wait to be connected again.")
        for email, role in arrived.members:
            self.stdout.write(f"Not a member here, to be invited: {email} ({role}).")
