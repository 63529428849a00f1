from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from accounts.services import DEMO_EMAIL, sign_in_link


class Command(BaseCommand):
    help = "Print a link that signs one person in, once."

    def add_arguments(self, parser: CommandParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("email", nargs="?", help="the person's e-mail address")
        who.add_argument("--demo", action="store_true", help="the demo account")

    def handle(self, *args: Any, **options: Any) -> None:
        email = DEMO_EMAIL if options["demo"] else options["email"]
        user = User.objects.filter(email__iexact=email, is_active=True).first()
        if user is None:
            raise CommandError(
                f"Nobody here has the address {email}. Create the person first: manage.py createsuperuser"
            )
        self.stdout.write(settings.PUBLIC_URL + sign_in_link(user))
