"""The audit log: a line for every write, which nobody can take back."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from accounts import audit
from accounts.models import AuditEntry, Membership
from accounts.tenancy import NoTenant, tenant
from accounts.tokens import create_token, revoke_token
from bots.models import Bot
from tests.factories import World, client_of, make_bot, make_post


def _lines(world: World) -> list[tuple[str, str]]:
    with tenant(world.acme.pk):
        return list(AuditEntry.objects.order_by("id").values_list("actor", "action"))


def test_making_an_organization_and_its_people_is_recorded(world: World) -> None:
    assert _lines(world) == [
        ("kilroy", "organization.create"),
        ("kilroy", "membership.create"),
        ("kilroy", "membership.create"),
    ]


@pytest.mark.parametrize("statement", ["UPDATE accounts_auditentry SET actor = 'x'", "DELETE FROM accounts_auditentry"])
def test_lines_can_be_neither_changed_nor_deleted(world: World, statement: str) -> None:
    with tenant(world.acme.pk), pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        connection.cursor().execute(statement)
    assert len(_lines(world)) == 3


def test_the_application_cannot_change_them_either(world: World) -> None:
    with tenant(world.acme.pk):
        line = AuditEntry.objects.first()
        assert line is not None
        line.actor = "somebody else"
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            line.save()
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            line.delete()
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            AuditEntry.objects.update(actor="somebody else")


def test_a_page_writes_who_did_what_from_where(world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
    client_of(world.alice).post(f"/o/acme/bots/{bot.pk}/pause/", {"reason": "too loud"}, REMOTE_ADDR="203.0.113.9")
    with tenant(world.acme.pk):
        line = AuditEntry.objects.latest("id")
    assert (line.actor, line.user, line.action) == ("alice@kilroy.example", world.alice, "bot.pause")
    assert (line.object_type, line.object_id, line.address) == ("bot", str(bot.pk), "203.0.113.9")
    assert (line.before["paused_at"], line.after["reason"]) == (None, "too loud")


def test_a_program_is_named_by_its_token(world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        token, secret = create_token(Membership.objects.get(user=world.alice), "My script")
    Client().post(f"/api/v1/organizations/acme/bots/{bot.pk}/pause/", headers={"Authorization": f"Bearer {secret}"})
    with tenant(world.acme.pk):
        line = AuditEntry.objects.latest("id")
        revoke_token(token.pk)
    assert line.actor == f"token {token.prefix}… (My script) of alice@kilroy.example"
    assert (line.user, line.action) == (world.alice, "bot.pause")
    assert _lines(world)[-1] == ("kilroy", "token.revoke")


def test_who_acts_ends_with_the_request(world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
    client = client_of(world.alice)
    client.post(f"/o/acme/bots/{bot.pk}/pause/")
    client.post(f"/api/v1/organizations/acme/bots/{bot.pk}/resume/")
    assert audit.actor() == audit.SYSTEM
    with pytest.raises(NoTenant):
        Bot.objects.first()


def test_a_change_is_recorded_with_what_was_before(world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot(name="Old")
    answer = client_of(world.alice).patch(
        f"/api/v1/organizations/acme/bots/{bot.pk}/", {"name": "New"}, content_type="application/json"
    )
    assert answer.status_code == 200
    with tenant(world.acme.pk):
        line = AuditEntry.objects.latest("id")
    assert (line.action, line.before, line.after) == ("bot.change", {"name": "Old"}, {"name": "New"})


def test_a_write_that_fails_leaves_no_line(world: World) -> None:
    with tenant(world.acme.pk):
        post = make_post(make_bot(), "published")
    before = _lines(world)
    answer = client_of(world.alice).post(f"/api/v1/organizations/acme/posts/{post.pk}/approve/")
    assert answer.status_code == 409
    assert _lines(world) == before


def test_lines_belong_to_their_organization(world: World) -> None:
    with tenant(world.globex.pk):
        assert set(AuditEntry.objects.values_list("action", flat=True)) == {"organization.create", "membership.create"}
        assert AuditEntry.objects.count() == 2
