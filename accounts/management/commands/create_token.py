from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.access import membership_in
from accounts.models import User
from accounts.tenancy import tenant
from accounts.tokens import create_token


class Command(BaseCommand):
    help = "Create an API token for a member of an organization. It is printed this once, and stored as a hash."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("organization", help="the organization's slug, as in its address")
        parser.add_argument("email", help="the member's e-mail address: the token may do what this person may")
        parser.add_argument("--name", default="command line", help="what the token is for")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email__iexact=options["email"]).first()
        membership = membership_in(user, options["organization"]) if user else None
        if membership is None:
            raise CommandError(
                f"{options['email']} is no active member of an organization “{options['organization']}”."
            )
        with tenant(membership.organization_id):
            _, secret = create_token(membership, options["name"][:80])
        self.stdout.write(secret)
