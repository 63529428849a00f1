from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction

from accounts.models import User
from accounts.people import person_with
from accounts.services import create_organization, sign_in_link


class Command(BaseCommand):
    help = "Create an organization with its owner, and print a link that signs the owner in, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the organization's name")
        parser.add_argument("owner", help="the owner's e-mail address; the person is made if nobody has it")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        name, email = options["name"].strip(), options["owner"].strip()
        try:
            validate_email(email)
        except ValidationError:
            raise CommandError(f"“{email}” is no e-mail address.") from None
        if not name or len(name) > 120:
            raise CommandError("Give the organization a name of at most 120 characters.")
        owner = person_with(email) or User.objects.create_user(email)
        organization = create_organization(name, owner)
        self.stdout.write(f"{organization.slug}: {settings.PUBLIC_URL}{sign_in_link(owner)}")
