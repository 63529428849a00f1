"""Invitations by e-mail: sent, renewed, revoked, expired, and accepted by the one person they are for."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import PermissionDenied, ValidationError
from django.test import Client
from django.utils import timezone

from accounts import clock, invitations
from accounts.models import AuditEntry, Invitation, Membership, User
from accounts.roles import Role
from accounts.tenancy import tenant
from accounts.tokens import token_hash
from tests.factories import World, client_of, make_member, make_user

INVITE = "/o/acme/settings/invitations/"
MEMBERS = "/o/acme/settings/members/"
DORA = "dora@kilroy.example"


@pytest.fixture
def dora(db: None) -> User:
    return make_user(DORA)


class Post:
    """Invites over the page, and reads the mail."""

    def __init__(self, world: World, commit: Any) -> None:
        self.world, self.commit = world, commit

    def invite(self, email: str = DORA, role: str = "editor", by: User | None = None) -> Any:
        with self.commit(execute=True):
            return client_of(by or self.world.alice).post(INVITE, {"email": email, "role": role})

    def link(self) -> str:
        found = re.search(r"https?://[^/\s]+(/invitations/\S+/)", str(mail.outbox[-1].body))
        assert found
        return found[1]


@pytest.fixture
def post(world: World, django_capture_on_commit_callbacks: Any) -> Post:
    return Post(world, django_capture_on_commit_callbacks)


def the_invitation(world: World) -> Invitation:
    with tenant(world.acme.pk):
        return Invitation.objects.select_related("organization").get()


def me(world: World, person: User | None = None) -> Membership:
    with tenant(world.acme.pk):
        return Membership.objects.select_related("user").get(user=person or world.alice)


def role_of(world: World, person: User) -> str | None:
    with tenant(world.acme.pk):
        return Membership.objects.filter(user=person).values_list("role", flat=True).first()


def follow(client: Client, link: str) -> Any:
    return client.get(link, follow=True)


# Sending


def test_the_mail_says_who_where_as_what_and_until_when(world: World, post: Post) -> None:
    post.invite()
    [sent] = mail.outbox
    assert (sent.to, sent.subject) == ([DORA], "Kilroy: alice@kilroy.example invites you to Acme")
    for words in ("alice@kilroy.example", "Acme", "as editor", "do nothing", DORA):
        assert words in sent.body, words
    invitation = the_invitation(world)
    assert f"{invitation.expires_at:%Y, %H:%M} UTC" in sent.body
    assert invitation.expires_at - timezone.now() > timedelta(days=6, hours=23)


def test_the_secret_stands_in_the_mail_and_nowhere_else(world: World, post: Post) -> None:
    answer = post.invite()
    secret = post.link().split("/")[2]
    assert the_invitation(world).sha256 == token_hash(secret)
    with tenant(world.acme.pk):
        log = str(list(AuditEntry.objects.values()))
        row = str(Invitation.objects.values().get())
    page = client_of(world.alice).get(MEMBERS).content.decode()
    assert [secret in place for place in (log, row, page, answer.content.decode())] == [False] * 4


def test_an_organizations_name_cannot_forge_headers_or_markup_of_the_mail(world: World, post: Post) -> None:
    type(world.acme).objects.update(name="Acme\nBcc: all@x.example & <b>Co</b>")
    post.invite()
    assert "\n" not in mail.outbox[0].subject
    assert "& <b>Co</b>" in mail.outbox[0].body  # plain text: nothing to escape


def test_inviting_again_renews_with_a_new_link_and_role(world: World, post: Post, dora: User) -> None:
    post.invite()
    first = post.link()
    post.invite("Dora@Kilroy.example", "viewer")
    assert the_invitation(world).role == "viewer"  # still one
    assert follow(client_of(dora), first).status_code == 404
    client = client_of(dora)
    follow(client, post.link())
    client.post("/invitations/")
    assert role_of(world, dora) == "viewer"
    with tenant(world.acme.pk):
        renewed = AuditEntry.objects.get(action="invitation.renew")
    assert (renewed.before["role"], renewed.after["role"]) == ("editor", "viewer")


def test_nobody_invites_above_their_own_role(world: World, post: Post) -> None:
    admin = make_member(world.acme, Role.ADMIN)
    assert post.invite(role="owner", by=admin.user).status_code == 400  # the form does not offer it
    with tenant(world.acme.pk), pytest.raises(PermissionDenied):
        invitations.invite(me(world, admin.user), DORA, Role.OWNER)
    post.invite(role="owner")
    invitation = the_invitation(world)
    for verb in ("revoke", "resend"):
        assert client_of(admin.user).post(f"{INVITE}{invitation.pk}/{verb}/").status_code == 403
    with tenant(world.acme.pk), pytest.raises(PermissionDenied):  # nor lowers what an owner offered
        invitations.invite(me(world, admin.user), DORA, Role.VIEWER)


def test_a_member_is_not_invited(world: World, post: Post) -> None:
    answer = post.invite("BOB@kilroy.example")
    assert (answer.status_code, "is a member already" in answer.content.decode()) == (400, True)
    assert mail.outbox == []


def test_at_most_fifty_are_open_and_renewing_needs_no_room(world: World, post: Post) -> None:
    with tenant(world.acme.pk):
        Invitation.objects.bulk_create(
            Invitation(
                email=f"{n}@x.example", role="viewer", sha256=str(n), expires_at=timezone.now() + timedelta(days=1)
            )
            for n in range(50)
        )
    assert "50 invitations are open" in post.invite().content.decode()
    assert post.invite("7@x.example").status_code == 302
    with tenant(world.acme.pk):
        Invitation.objects.filter(email="8@x.example").update(expires_at=timezone.now() - timedelta(days=1))
    assert post.invite().status_code == 302


def test_at_most_a_hundred_mails_leave_a_day(world: World, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations, "MOST_SENT_A_DAY", 2)
    post.invite()
    post.invite()
    assert "2 invitations were sent in 24 hours" in post.invite().content.decode()
    with clock.simulated(timezone.now() + timedelta(days=1, minutes=1)), tenant(world.acme.pk):
        assert invitations.invite(me(world), DORA, "viewer").role == "viewer"


# Accepting


def test_the_invited_person_reads_who_invites_to_what_and_accepts_by_a_post(
    world: World, post: Post, dora: User
) -> None:
    post.invite()
    client = client_of(dora)
    page = follow(client, post.link()).content.decode()
    for words in ("Join Acme", "alice@kilroy.example", "editor"):
        assert words in page, words
    assert role_of(world, dora) is None  # looking is not accepting
    answer = client.post("/invitations/")
    assert (answer.headers["Location"], role_of(world, dora)) == ("/o/acme/", "editor")
    with tenant(world.acme.pk):
        line = AuditEntry.objects.get(action="invitation.accept")
    assert (line.actor, line.before["role"], line.after) == (DORA, "editor", {"user": DORA})


def test_a_link_works_once(world: World, post: Post, dora: User) -> None:
    post.invite()
    link, client = post.link(), client_of(dora)
    follow(client, link)
    client.post("/invitations/")
    answer = follow(client, link)
    assert (answer.status_code, "accepted already" in answer.content.decode()) == (410, True)


@pytest.mark.parametrize(("days", "status"), [(6.99, 200), (7.01, 410)])
def test_a_link_holds_for_seven_days(world: World, post: Post, dora: User, days: float, status: int) -> None:
    post.invite()
    with clock.simulated(timezone.now() + timedelta(days=days)), tenant(world.acme.pk):
        invitation = the_invitation(world)
        assert (invitations.why_closed(invitation) == "") == (status == 200)
        if status == 410:
            with pytest.raises(ValidationError, match="has expired"):
                invitations.accept(invitation, dora)


def test_an_expired_or_revoked_link_says_so(world: World, post: Post, dora: User) -> None:
    post.invite()
    link, invitation = post.link(), the_invitation(world)
    client_of(world.alice).post(f"{INVITE}{invitation.pk}/revoke/")
    answer = follow(client_of(dora), link)
    assert (answer.status_code, "was revoked" in answer.content.decode()) == (410, True)
    with tenant(world.acme.pk):
        Invitation.objects.update(revoked_at=None, expires_at=timezone.now() - timedelta(minutes=1))
    answer = follow(client_of(dora), link)
    assert (answer.status_code, "has expired" in answer.content.decode()) == (410, True)


def test_somebody_else_reads_whose_it_is_and_cannot_accept(world: World, post: Post) -> None:
    post.invite()
    client = client_of(world.charlie)
    page = follow(client, post.link()).content.decode()
    assert ("You are signed in as <strong>charlie@kilroy.example" in page, "Sign out" in page) == (True, True)
    client.post("/invitations/")
    assert role_of(world, world.charlie) is None


def test_an_address_that_was_not_verified_does_not_count(world: World, post: Post, dora: User) -> None:
    from allauth.account.models import EmailAddress

    post.invite()
    EmailAddress.objects.filter(user=dora).update(verified=False)
    client = client_of(dora)
    follow(client, post.link())
    client.post("/invitations/")
    assert role_of(world, dora) is None


def test_a_second_verified_address_counts(world: World, post: Post) -> None:
    from allauth.account.models import EmailAddress

    erin = make_user("erin@kilroy.example")
    EmailAddress.objects.create(user=erin, email=DORA, verified=True, primary=False)
    post.invite()
    client = client_of(erin)
    follow(client, post.link())
    client.post("/invitations/")
    assert role_of(world, erin) == "editor"


def test_nobody_is_led_through_signing_in_and_back(world: World, post: Post, dora: User) -> None:
    post.invite()
    client = Client()
    page = follow(client, post.link()).content.decode()
    assert ("/sign-in/?next=/invitations/" in page, "signup" in page or "sign-up" in page) == (True, True)
    assert client.post("/invitations/").status_code == 200  # says the same; accepts nothing
    client.force_login(dora)  # the session goes on
    assert client.get("/").headers["Location"] == "/invitations/"
    client.post("/invitations/")
    assert role_of(world, dora) == "editor"
    assert client.get("/").headers["Location"] == "/o/acme/"


def test_an_invitation_can_wait_and_stands_in_nobody_elses_way(world: World, post: Post, dora: User) -> None:
    post.invite()
    charlie, client = client_of(world.charlie), client_of(dora)
    follow(charlie, post.link())
    assert charlie.get("/").headers["Location"] == "/o/globex/"
    follow(client, post.link())
    assert client.post("/invitations/", {"later": "1"}).headers["Location"] == "/"
    assert (client.get("/").status_code, role_of(world, dora)) == (200, None)
    follow(client, post.link())
    client.post("/invitations/")
    assert role_of(world, dora) == "editor"


def test_a_link_that_never_was_and_no_link_at_all(world: World) -> None:
    client = client_of(world.alice)
    assert [client.get(path).status_code for path in ("/invitations/nonsense/", "/invitations/")] == [404, 404]


def test_an_invitation_whose_author_may_invite_no_longer_is_worth_nothing(world: World, post: Post, dora: User) -> None:
    admin = make_member(world.acme, Role.ADMIN)
    post.invite(by=admin.user)
    User.objects.filter(pk=admin.user_id).update(is_active=False)
    with pytest.raises(ValidationError, match="may do so no longer"):
        invitations.accept(the_invitation(world), dora)
    assert role_of(world, dora) is None


def test_a_member_who_accepts_keeps_their_role(world: World, post: Post, dora: User) -> None:
    post.invite()
    make_member(world.acme, Role.ADMIN, dora)
    assert invitations.accept(the_invitation(world), dora).role == Role.ADMIN


# Managing


def test_sending_again_gives_seven_days_more_and_a_new_link(world: World, post: Post) -> None:
    post.invite()
    first, before = post.link(), the_invitation(world)
    with post.commit(execute=True):
        client_of(world.alice).post(f"{INVITE}{before.pk}/resend/")
    after = the_invitation(world)
    assert (after.pk, after.expires_at > before.expires_at, post.link() != first) == (before.pk, True, True)


def test_what_was_accepted_is_neither_revoked_nor_sent_again(world: World, post: Post, dora: User) -> None:
    post.invite()
    invitations.accept(the_invitation(world), dora)
    invitation = the_invitation(world)
    with tenant(world.acme.pk):
        for verb in (invitations.revoke, invitations.resend):
            with pytest.raises(ValidationError, match="accepted"):
                verb(me(world), invitation.pk)


def test_the_page_lists_open_ones_to_those_who_manage(world: World, post: Post) -> None:
    post.invite()
    assert DORA in client_of(world.alice).get(MEMBERS).content.decode()
    assert DORA not in client_of(world.bob).get(MEMBERS).content.decode()
