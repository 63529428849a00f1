"""What happens elsewhere while a test's browser looks on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from uuid import UUID

from django.db import connection
from django.test import Client

from accounts.notifications import tell
from accounts.tenancy import tenant
from bots import live
from bots.models import Bot
from bots.services.posts import Draft, propose_posts
from tests.browser.serving import signed_in
from tests.factories import make_bot, make_connection, make_organization, make_user

T = TypeVar("T")


def make_writer() -> tuple[Client, UUID, UUID]:
    """Its owner, signed in; the organization; the bot."""
    owner = make_user("alice@kilroy.example")
    organization = make_organization("Acme", owner)
    with tenant(organization.pk):
        bot = make_bot(make_connection(), name="Writer")
    client = signed_in(owner)
    connection.close()
    return client, organization.pk, bot.pk


def elsewhere(act: Callable[[], T]) -> T:
    """Act in another thread, as another process would: this one belongs to the browser's loop."""

    def run() -> T:
        try:
            return act()
        finally:
            live.flush()
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def propose(organization_id: UUID, bot_id: UUID, text: str) -> UUID:
    """A post that waits for approval; the first of them also rings the bell."""
    with tenant(organization_id):
        [post] = propose_posts(Bot.objects.get(pk=bot_id), [Draft(text)])
        return post.pk


def notify(organization_id: UUID) -> None:
    with tenant(organization_id):
        tell("connection.broken", "Ours must be connected again", "/o/acme/connections/", subject="connection 1")
