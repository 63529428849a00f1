"""Mails of notifications: once, to whoever wants them, and ended without signing in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from smtplib import SMTPRecipientsRefused
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts import clock, notification_mail, notifications
from accounts.members import remove_member
from accounts.models import Membership, Notification, NotificationChoice, User
from accounts.notification_kinds import KINDS
from accounts.notification_mail import send_digest, send_due
from accounts.notifications import choose, tell
from tests.factories import World, client_of
from tests.telling import PATH, broken, link_in, member, recipients, unread

SEVEN = datetime(2026, 3, 2, 7, tzinfo=UTC)


def test_a_mail_goes_out_once_and_leads_to_the_very_thing(acme: World, settings: Settings) -> None:
    broken()
    assert (send_due(), send_due()) == (1, 0)
    [letter] = mail.outbox
    assert (letter.subject, letter.to) == ("Kilroy: Ours is broken", ["alice@kilroy.example"])
    assert "It takes nothing more." in letter.body
    assert f"{settings.PUBLIC_URL}/o/acme/settings/notifications/" in letter.body
    client = client_of(acme.alice)
    assert client.get(link_in(letter.body))["Location"] == PATH
    assert unread() == []


def test_whoever_is_mailing_it_is_left_alone_until_the_lease_ends(acme: World) -> None:
    broken()
    Notification.objects.update(emailed_at=timezone.now())  # another worker has it
    assert send_due() == 0
    Notification.objects.update(emailed_at=timezone.now() - notification_mail.LEASE - timedelta(seconds=1))
    assert send_due() == 1


def test_what_was_read_meanwhile_is_not_mailed(acme: World) -> None:
    broken()
    notifications.read_all(member(acme.alice))
    assert send_due() == 0


def test_what_goes_on_unread_is_mailed_again_after_a_day_and_no_sooner(acme: World) -> None:
    with clock.simulated(timezone.now()) as now:
        broken()
        send_due()
        now.advance(timedelta(hours=2))
        broken("Still broken")
        assert send_due() == 0
        now.advance(timedelta(hours=20))
        broken("Broken for a day")
        Notification.objects.update(emailed_at=timezone.now() - timedelta(days=1))  # leases follow the real clock
        assert send_due() == 1
    assert mail.outbox[-1].subject == "Kilroy: Broken for a day"


def test_a_mail_server_that_is_down_is_asked_again(acme: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(self: EmailMessage, fail_silently: bool = False) -> int:
        raise ConnectionRefusedError("nobody is there")

    broken()
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(EmailMessage, "send", down)
        assert send_due() == 0
    Notification.objects.update(emailed_at=timezone.now() - timedelta(hours=1))
    assert send_due() == 1


def test_an_address_that_the_mail_server_refuses_holds_up_nobody(
    acme: World, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = EmailMessage.send

    def refuse(self: EmailMessage, fail_silently: bool = False) -> int:
        if self.to == ["ada@kilroy.example"]:
            raise SMTPRecipientsRefused({"ada@kilroy.example": (550, b"no such user")})
        return send(self, fail_silently)

    monkeypatch.setattr(EmailMessage, "send", refuse)
    broken()
    assert (send_due(), recipients()) == (1, ["alice@kilroy.example"])
    assert not Notification.objects.filter(email_due=True).exists()


def test_who_lost_the_right_gets_no_mail(acme: World, ada: User) -> None:
    broken()
    Membership.objects.filter(user=ada).update(role="editor")
    assert (send_due(), recipients()) == (1, ["alice@kilroy.example"])


def test_who_leaves_takes_their_notifications_along(acme: World, ada: User) -> None:
    choose(ada, "queue.empty", email="never")
    broken()
    remove_member(member(acme.alice), ada.pk)
    assert not Notification.objects.filter(user=ada).exists()
    assert not NotificationChoice.objects.filter(user=ada).exists()


def test_the_digest_is_one_mail_a_day(acme: World) -> None:
    with clock.simulated(SEVEN - timedelta(hours=3)) as now:
        for number in range(3):
            tell("review.waiting", f"Posts of bot {number} wait", "/o/acme/", subject=f"bot {number}")
        tell("member.joined", "Dora joined", "/o/acme/settings/members/")
        assert (send_due(), send_digest(acme.alice.pk)) == (0, False)
        now.advance(timedelta(hours=3, minutes=1))
        tell("review.waiting", "Too late for today", "/o/acme/", subject="bot 9")
        assert (send_digest(acme.alice.pk), send_digest(acme.alice.pk)) == (True, False)
        [letter] = mail.outbox
        assert letter.subject == "Kilroy: 4 things happened"
        assert all(title in letter.body for title in ("Posts of bot 0 wait", "Posts of bot 2 wait", "Dora joined"))
        assert "Too late" not in letter.body
        now.advance(timedelta(days=1))
        assert send_digest(acme.alice.pk)
    assert mail.outbox[1].subject == "Kilroy: Too late for today"


def test_the_sweep_rings_for_what_is_due(acme: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[tuple[Any, ...]] = []
    monkeypatch.setattr(notification_mail, "ring", lambda *bell: rung.append(bell))
    with clock.simulated(SEVEN - timedelta(minutes=1)) as now:
        choose(acme.alice, "queue.empty", email="digest")
        tell("queue.empty", "Nothing left to say", "/o/acme/", subject="bot 1")
        notification_mail.ring_due()
        assert rung == []
        now.advance(timedelta(minutes=2))
        broken()
        notification_mail.ring_due()
        assert rung == [(notifications.SEND, acme.acme.pk), (notification_mail.DIGEST, acme.acme.pk, acme.alice.pk)]
        rung.clear()
        now.advance(notification_mail.GIVE_UP_AFTER + timedelta(minutes=2))
        notification_mail.ring_due()
    assert (rung, Notification.objects.filter(email_due=True).count()) == ([], 0)


def test_mails_of_a_kind_are_ended_without_signing_in(acme: World) -> None:
    broken()
    send_due()
    [letter] = mail.outbox
    headers = letter.extra_headers
    path = "/" + headers["List-Unsubscribe"].strip("<>").split("/", 3)[3]
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    stranger = Client(enforce_csrf_checks=True)
    assert "will get no more mails" in stranger.get(path).text
    assert not NotificationChoice.objects.exists()  # a scanner that follows links changes nothing
    assert stranger.post(path, {"List-Unsubscribe": "One-Click"}).status_code == 200
    choice = NotificationChoice.objects.get(user=acme.alice, kind="connection.broken")
    assert (choice.on_page, choice.email) == (True, "never")
    assert stranger.get(path[:-4] + "xxx/").status_code == 404


def test_the_digest_is_ended_as_a_whole(acme: World) -> None:
    notification_mail.unsubscribe(member(acme.alice), "")
    ended = set(NotificationChoice.objects.filter(email="never").values_list("kind", flat=True))
    assert ended == {name for name, kind in KINDS.items() if kind.email == "digest"}


def test_what_was_read_long_ago_is_forgotten(acme: World) -> None:
    with clock.simulated(timezone.now() - timedelta(days=100)):
        broken(subject="old and read")
        notifications.read_all(member(acme.alice))
        broken(subject="old and unread")
    broken(subject="new")
    notifications.read(member(acme.alice), Notification.objects.get(subject="new").pk)
    assert notifications.forget_old() == 1
    assert set(Notification.objects.values_list("subject", flat=True)) == {"old and unread", "new"}
