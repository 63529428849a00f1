"""Notifications: told once, to whoever may act on it and wants to know, and mailed once."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import clock, invitations, notifications, quotas
from accounts.models import AuditEntry, Membership, Notification, NotificationChoice, User
from accounts.notification_kinds import KINDS
from accounts.notification_mail import send_due
from accounts.notifications import choose, settle, tell
from accounts.roles import EVERY_PERMISSION
from accounts.tenancy import tenant
from bots.models import Bot
from bots.services.bots import create_bot
from tests.factories import World, client_of, make_connection, make_member, make_user
from tests.telling import PATH, broken, link_in, member, recipients, unread

SEVEN = datetime(2026, 3, 2, 7, tzinfo=UTC)


# Who is told


def test_every_kind_asks_a_permission_that_exists() -> None:
    assert {kind.permission for kind in KINDS.values()} <= EVERY_PERMISSION


def test_those_whose_role_allows_it_are_told(acme: World, ada: User) -> None:
    make_member(acme.acme, "editor")
    make_member(acme.acme, "admin", make_user("gone@kilroy.example", is_active=False))
    assert broken() == 2
    assert unread() == [("ada", "Ours is broken"), ("alice", "Ours is broken")]


def test_of_them_only_those_who_are_named(acme: World, ada: User) -> None:
    assert broken(users=[ada.pk, acme.bob.pk, acme.charlie.pk]) == 1
    assert unread() == [("ada", "Ours is broken")]


def test_while_it_is_unread_it_is_told_once_and_says_the_newest(acme: World, ada: User) -> None:
    with clock.simulated(SEVEN) as now:
        broken()
        now.advance(timedelta(hours=1))
        assert broken("Ours is still broken") == 2
        now.advance(timedelta(hours=1))
        broken("Another one", subject="connection 2")
    assert unread() == [
        *(("ada", title) for title in ("Ours is still broken", "Another one")),
        *(("alice", title) for title in ("Ours is still broken", "Another one")),
    ]
    notifications.read(member(ada), Notification.objects.get(user=ada, subject="connection 1").pk)
    broken("Broken again")
    assert Notification.objects.filter(user=ada, subject="connection 1").count() == 2
    assert Notification.objects.filter(user=acme.alice, subject="connection 1").count() == 1


def test_what_has_no_subject_is_told_each_time(acme: World) -> None:
    broken(subject="")
    broken(subject="")
    assert unread() == [("alice", "Ours is broken")] * 2


def test_what_is_over_needs_no_reading(acme: World) -> None:
    broken()
    settle("connection.broken", "connection 1")
    assert (unread(), send_due()) == ([], 0)
    assert broken("Broken again") == 1
    assert unread() == [("alice", "Broken again")]


def test_other_organizations_hear_nothing(acme: World) -> None:
    broken()
    with tenant(acme.globex.pk):
        assert (unread(), send_due()) == ([], 0)


@pytest.mark.parametrize("path", ["https://evil.example/", "//evil.example/", "/\\evil.example", "connections/", ""])
def test_a_notification_leads_nowhere_else(acme: World, path: str) -> None:
    with pytest.raises(ValueError, match="a page of this site"):
        tell("connection.broken", "Look here", path)


def test_a_kind_that_is_not_in_the_table_is_a_mistake(acme: World) -> None:
    with pytest.raises(KeyError):
        tell("connection.borken", "Look here", PATH)


# What services tell


def test_a_quota_is_told_of_once_a_day_when_nine_tenths_are_used(acme: World) -> None:
    quotas.set_plan(acme.acme, "small", {"posts_per_day": 10, "bots": 2})
    with clock.simulated(SEVEN) as now:
        for _ in range(8):
            quotas.consume("posts_per_day")
        assert unread() == []
        quotas.consume("posts_per_day")
        quotas.consume("posts_per_day")
        assert unread() == [("alice", "Posts per day: 9 of 10 are used")]
        notifications.read_all(member(acme.alice))
        now.advance(timedelta(days=1))
        quotas.charge("posts_per_day", 9)
        assert unread() == [("alice", "Posts per day: 9 of 10 are used")]


def test_a_standing_quota_is_told_of_when_it_comes_near(acme: World) -> None:
    quotas.set_plan(acme.acme, "small", {"bots": 2})
    for _ in range(2):
        with transaction.atomic():
            create_bot(f"Bot {Bot.objects.count()}", make_connection())
    assert unread() == [("alice", "Bots: 2 of 2 are used")]


def test_others_are_told_who_joined(acme: World, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        invitations.invite(member(acme.alice), "dora@kilroy.example", "admin")
    [secret] = re.findall(r"/invitations/(\S+)/", str(mail.outbox[0].body))
    invitation = invitations.find_invitation(secret)
    assert invitation is not None
    invitations.accept(invitation, make_user("dora@kilroy.example"))
    assert unread() == [("alice", "dora@kilroy.example joined as admin")]


# What people choose


def test_who_wants_to_know_in_no_way_is_left_out(acme: World, ada: User) -> None:
    choose(ada, "connection.broken", on_page=False, email="never")
    assert broken() == 1
    assert unread() == [("alice", "Ours is broken")]


def test_who_wants_the_mail_only_does_not_see_it_on_the_page(acme: World) -> None:
    choose(acme.alice, "connection.broken", on_page=False)
    broken()
    assert (notifications.unread_count(member(acme.alice)), send_due()) == (0, 1)
    page = client_of(acme.alice).get(link_in(mail.outbox[0].body))
    assert (page.status_code, page["Location"]) == (302, PATH)


def test_who_wants_no_mail_gets_none_not_even_of_what_was_told_before(acme: World, ada: User) -> None:
    broken()
    choose(ada, "connection.broken", email="never")
    assert (send_due(), recipients()) == (1, ["alice@kilroy.example"])


def test_a_choice_is_written_down_with_what_it_was(acme: World) -> None:
    choose(acme.alice, "queue.empty", email="digest")
    line = AuditEntry.objects.get(action="notification.choose")
    assert (line.before["email"], line.after["email"]) == ("now", "digest")
    choose(acme.alice, "queue.empty", email="digest")
    assert AuditEntry.objects.filter(action="notification.choose").count() == 1


@pytest.mark.parametrize(("kind", "email"), [("queue.empyt", "now"), ("queue.empty", "hourly")])
def test_a_choice_that_makes_no_sense_is_refused(acme: World, kind: str, email: str) -> None:
    with pytest.raises(ValidationError):
        choose(acme.alice, kind, email=email)
    assert not NotificationChoice.objects.exists()


# Pages and API


def test_the_bell_counts_and_is_still_while_nothing_changed(acme: World) -> None:
    alice = client_of(acme.alice)
    assert "none unread" in alice.get("/o/acme/").text
    for number in range(12):
        broken(subject=f"connection {number}")
    assert ">9+<" in alice.get("/o/acme/").text
    assert alice.get("/o/acme/notifications/bell/?was=10").status_code == 204
    assert ">9+<" in alice.get("/o/acme/notifications/bell/?was=3").text


def test_the_list_is_walked_and_marked_read(acme: World) -> None:
    alice = client_of(acme.alice)
    with clock.simulated(SEVEN) as now:
        for number in range(32):
            now.advance(timedelta(minutes=1))
            broken(f"Connection number {number}.", subject=str(number))
    first = alice.get("/o/acme/notifications/").text
    assert ("Connection number 31." in first, "Connection number 1." in first) == (True, False)
    [older] = re.findall(r'rel="next" href="([^"]+)"', first)
    second = alice.get("/o/acme/notifications/" + older.replace("&amp;", "&")).text
    assert ("Connection number 31." in second, "Connection number 1." in second) == (False, True)
    assert alice.get("/o/acme/notifications/?page=older~x~y").status_code == 400
    assert alice.post("/o/acme/notifications/read/").status_code == 302
    assert unread() == []


def test_nobody_sees_or_reads_what_another_was_told(acme: World, ada: User) -> None:
    broken("For Ada alone", users=[ada.pk])
    pk = Notification.objects.get().pk
    for other in (acme.alice, acme.bob):
        client = client_of(other)
        assert "For Ada alone" not in client.get("/o/acme/notifications/").text
        assert client.get(f"/o/acme/notifications/{pk}/").status_code == 404
        assert client.get("/api/v1/organizations/acme/notifications/").json()["results"] == []
        assert client.post(f"/api/v1/organizations/acme/notifications/{pk}/read/").status_code == 404
        client.post("/o/acme/notifications/read/")
    assert client_of(acme.charlie).get(f"/o/acme/notifications/{pk}/").status_code == 404
    assert unread() == [("ada", "For Ada alone")]
    assert client_of(ada).get(f"/o/acme/notifications/{pk}/")["Location"] == PATH


def test_who_may_no_longer_act_on_it_no_longer_sees_it(acme: World, ada: User) -> None:
    broken()
    Membership.objects.filter(user=ada).update(role="viewer")
    assert "Ours is broken" not in client_of(ada).get("/o/acme/notifications/").text


def test_the_page_of_choices_offers_what_the_role_may_hear_of_and_keeps_the_choice(acme: World) -> None:
    alice = client_of(acme.alice)
    page = "/o/acme/settings/notifications/"
    assert "A connection is broken" in alice.get(page).text
    assert "A connection is broken" not in client_of(acme.bob).get(page).text
    alice.post(page, {"connection.broken:email": "digest", "queue.empty:email": "now", "queue.empty:page": "on"})
    rows = NotificationChoice.objects.order_by("kind").values_list("kind", "on_page", "email")
    assert list(rows) == [("connection.broken", False, "digest"), ("queue.empty", True, "now")]
    assert "Choose one of" in alice.post(page, {"queue.empty:email": "hourly"}, follow=True).text


def test_the_api_does_the_same(acme: World) -> None:
    alice, base = client_of(acme.alice), "/api/v1/organizations/acme/"
    broken()
    [row] = alice.get(f"{base}notifications/?unread=true").json()["results"]
    assert (row["kind"], row["title"], row["path"], row["read_at"]) == (
        "connection.broken",
        "Ours is broken",
        PATH,
        None,
    )
    assert alice.post(f"{base}notifications/{row['id']}/read/").json()["read_at"]
    assert alice.get(f"{base}notifications/?unread=true").json()["results"] == []
    broken()
    assert alice.post(f"{base}notifications/read-all/").json() == {"read": 1}
    kinds = {each["kind"]: each for each in alice.get(f"{base}notification-choices/").json()}
    assert kinds["queue.empty"] == {
        "kind": "queue.empty",
        "title": KINDS["queue.empty"].label,
        "on_page": True,
        "email": "now",
    }
    changed = alice.patch(f"{base}notification-choices/queue.empty/", {"email": "digest"}, "application/json")
    assert (changed.status_code, changed.json()["email"]) == (200, "digest")
    assert alice.patch(f"{base}notification-choices/nothing/", {}, "application/json").status_code == 404
    viewer = client_of(acme.bob).patch(f"{base}notification-choices/queue.empty/", {}, "application/json")
    assert viewer.status_code == 404
