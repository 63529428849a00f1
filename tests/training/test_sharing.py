"""Share links: a page of one bot's progress for whoever has the address, until it is revoked, and its image card."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.signing import Signer
from django.test import Client
from django.utils.html import escape
from PIL import Image

from accounts import clock
from accounts.models import AuditEntry, Organization
from accounts.tenancy import tenant
from bots.models import Bot
from tests.factories import World, client_of, make_bot, make_connection, make_post, make_round, make_run
from training import share_card, share_views, shared
from training.models import ShareLink
from training.services import sharing

HOSTILE = '"><script>alert(1)</script>\u202e\u0007 🙂 José'


@pytest.fixture
def learned(bot: Bot) -> Bot:
    run = make_run(bot, "online", state="running")
    for number in range(1, 6):
        mean = number / 10
        facts = {"reward_mean": mean, "reward_low": mean - 0.2, "reward_high": mean + 0.2, "baseline_mean": 0.05}
        facts |= {"lift": 0.4, "lift_low": 0.1, "lift_high": 0.7, "learning_posts": 212, "baseline_posts": 38}
        make_round(run, number, metrics=facts)
    make_post(bot, "published", text="The harbour votes against Monday")
    make_post(bot, "pending_review", text="Nobody may see this draft")
    make_post(bot, "deleted", text="Nobody may see what was taken down")
    make_post(bot, "published", text="Nobody may see this reply", kind="reply", reply_to="remote-77")
    return bot


def path_of(link: ShareLink) -> str:
    return f"/share/{sharing.signed(link)}/"


def visit(path: str) -> Any:
    """As nobody, with no session."""
    return Client().get(path)


def test_the_page_shows_progress_to_whoever_has_the_address(learned: Bot) -> None:
    answer = visit(path_of(sharing.make_link(learned, label="The board")))
    page = answer.content.decode()
    assert answer.status_code == 200
    for words in (
        "Writer",
        "Simulated audience",
        "score 0.40 sd above the frozen one",
        "The harbour votes against Monday",
        'd="M0.00',
        "Mean reward of 5 rounds: from 0.10 to 0.50 sd",
    ):
        assert words in page, words


def test_the_page_shows_nothing_else(learned: Bot) -> None:
    answer = visit(path_of(sharing.make_link(learned, label="The board")))
    page = re.sub(r'content="[^"]*/share/[^"]*"', "", answer.content.decode())
    for words in ("Nobody may see", "The board", "<form", "<input", "csrf", "alice", "acme", "Acme", "/o/"):
        assert words not in page, words
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}", page)
    assert learned.pk.hex not in page
    assert answer.cookies == {}
    assert answer["X-Robots-Tag"] == "noindex, nofollow"
    assert answer["Cache-Control"] == "no-store"
    assert '<meta name="robots" content="noindex, nofollow">' in page


def test_without_posts_it_shows_numbers_only(learned: Bot) -> None:
    page = visit(path_of(sharing.make_link(learned, shows_posts=False))).content.decode()
    assert "The harbour" not in page
    assert "Latest posts" not in page


def test_a_new_bots_page_says_that_nothing_is_known_yet(bot: Bot) -> None:
    page = visit(path_of(sharing.make_link(bot))).content.decode()
    assert "Not yet known: online learning has not begun." in page
    assert "It has not published anything yet." in page
    assert "<path" not in page.split("<figure")[1]


def test_a_revoked_link_is_dead_at_once(learned: Bot) -> None:
    link = sharing.make_link(learned)
    path = path_of(link)
    card = visit(f"{path}card.png")
    assert [visit(path).status_code, card.status_code] == [200, 200]
    sharing.revoke_link(link.pk)
    again = Client().get(f"{path}card.png", headers={"If-None-Match": card["ETag"]})
    assert [visit(path).status_code, again.status_code] == [404, 404]
    assert "nothing behind this link" in visit(path).content.decode()


def test_a_link_ends_when_it_was_said_to(learned: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    path = path_of(sharing.make_link(learned, expires_at=clock.now() + timedelta(days=7)))
    assert visit(path).status_code == 200
    later = clock.now() + timedelta(days=7, seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert visit(path).status_code == 404


def test_only_what_this_installation_signed_for_this_is_a_link(learned: Bot) -> None:
    link = sharing.make_link(learned)
    signed = sharing.signed(link)
    other_salt = Signer(salt="something.else").sign(link.pk.hex)
    unknown = sharing.signed(ShareLink())
    signature = signed.partition(":")[2]
    for given in (link.pk.hex, str(link.pk), other_salt, unknown, f"{learned.pk.hex}:{signature}", "x", "%00"):
        assert visit(f"/share/{given}/").status_code == 404, given


def test_a_link_of_an_organization_that_is_about_to_go_shows_nothing(learned: Bot) -> None:
    path = path_of(sharing.make_link(learned))
    Organization.objects.filter(pk=learned.organization_id).update(deletion_requested_at=clock.now())
    assert visit(path).status_code == 404


def test_another_organizations_bot_is_never_reached(world: World) -> None:
    with tenant(world.acme.pk):
        link = sharing.make_link(make_bot(name="Acme's own"))
    with tenant(world.globex.pk):
        own = make_bot(name="Globex's own")
        sharing.make_link(own)
    charlie = client_of(world.charlie)
    listed = charlie.get(f"/o/globex/bots/{own.pk}/share/").content.decode()
    assert sharing.signed(link) not in listed
    assert charlie.post(f"/o/globex/bots/{own.pk}/share/{link.pk}/revoke/").status_code == 404
    assert charlie.post(f"/api/v1/organizations/globex/share-links/{link.pk}/revoke/").status_code == 404
    page = charlie.get(path_of(link)).content.decode()
    assert ("Acme&#x27;s own" in page, "Globex" in page) == (True, False)


def test_following_a_link_is_noted_now_and_then(learned: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    link = sharing.make_link(learned)
    visit(path_of(link))
    link.refresh_from_db()
    first = link.last_seen_at
    assert first is not None
    visit(path_of(link))
    link.refresh_from_db()
    assert link.last_seen_at == first
    later = clock.now() + sharing.SEEN_EVERY + timedelta(seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    visit(path_of(link))
    link.refresh_from_db()
    assert link.last_seen_at == later


def test_whoever_asks_too_often_waits(learned: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share_views, "VISITS_A_MINUTE", 2)
    path, found = path_of(sharing.make_link(learned)), []
    for _ in range(3):
        found.append(Client(REMOTE_ADDR="198.51.100.23").get(path))
    assert [answer.status_code for answer in found] == [200, 200, 429]
    assert 1 <= int(found[2]["Retry-After"]) <= 60
    assert Client(REMOTE_ADDR="198.51.100.24").get(path).status_code == 200


def test_a_hostile_name_is_text(learned: Bot) -> None:
    Bot.objects.filter(pk=learned.pk).update(name=HOSTILE[:100])
    path = path_of(sharing.make_link(learned))
    page = visit(path).content.decode()
    assert "<script" not in page
    assert escape('"><script>') in page
    assert visit(f"{path}card.png").status_code == 200


# The card


def test_the_card_is_an_image_of_the_usual_size(learned: Bot) -> None:
    path = path_of(sharing.make_link(learned))
    answer = visit(f"{path}card.png")
    image = Image.open(io.BytesIO(answer.content))
    image.load()
    assert (image.format, image.size, answer["Content-Type"]) == ("PNG", (1200, 630), "image/png")
    assert answer["Cache-Control"] == "public, no-cache"
    assert answer["Cross-Origin-Resource-Policy"] == "cross-origin"
    unchanged = Client().get(f"{path}card.png", headers={"If-None-Match": answer["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    Bot.objects.filter(pk=learned.pk).update(name="Renamed")
    changed = Client().get(f"{path}card.png", headers={"If-None-Match": answer["ETag"]})
    assert (changed.status_code, changed["ETag"] != answer["ETag"]) == (200, True)
    assert f'property="og:image" content="{settings.PUBLIC_URL}{path}card.png"' in visit(path).content.decode()


def test_only_a_simulated_audience_is_called_one(learned: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    link, drawn = sharing.make_link(learned), []
    monkeypatch.setattr(share_card._Card, "_simulated", lambda self, words: drawn.append(words))
    share_card.draw(shared.progress_of(link))
    assert drawn == ["Simulated audience"]
    Bot.objects.filter(pk=learned.pk).update(connection=make_connection("mastodon"))
    share_card.draw(shared.progress_of(link))
    assert drawn == ["Simulated audience"]
    assert "Simulated" not in visit(path_of(link)).content.decode()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("José, Łódź – “quoted”", "José, Łódź – “quoted”"),
        ("a\n\tb\u0007\u202ec", "a b" + "c"),
        ("🙂 中文", ""),
    ],
)
def test_what_the_font_cannot_draw_is_left_out(name: str, shown: str) -> None:
    assert share_card.drawable(name) == shown


@pytest.mark.parametrize("name", ["W" * 500, "word " * 200, "", "🙂", HOSTILE], ids=range(5))
def test_every_name_gives_a_card(name: str) -> None:
    progress = shared.Progress(name, True, "waiting", "Not yet known. " * 40, [("Published posts", "1")], None, [])
    assert Image.open(io.BytesIO(share_card.draw(progress))).size == (1200, 630)


def test_the_cards_colours_are_the_pages() -> None:
    assert {"paper", "ink", "learning", "baseline", "caution", "good", "danger"} <= set(share_card.colours())


# Making and revoking them


def test_people_make_and_revoke_links(world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
    alice, address = client_of(world.alice), f"/o/acme/bots/{bot.pk}/share/"
    answer = alice.post(address, {"label": "Board", "days": "7", "shows_posts": "on"})
    assert answer.status_code == 302
    with tenant(world.acme.pk):
        link = ShareLink.objects.get()
        line = AuditEntry.objects.get(action="share_link.make")
    assert (link.label, link.shows_posts, link.created_by, line.user) == ("Board", True, world.alice.email, world.alice)
    assert timedelta(days=6) < link.expires_at - clock.now() <= timedelta(days=7)
    page = alice.get(address).content.decode()
    assert sharing.address_of(link) in page
    assert alice.post(f"{address}{link.pk}/revoke/").status_code == 302
    assert sharing.address_of(link) not in alice.get(address).content.decode()
    with tenant(world.acme.pk):
        assert AuditEntry.objects.filter(action="share_link.revoke").count() == 1
    assert client_of(world.bob).get(address).status_code == 403


def test_the_api_makes_and_revokes_them_too(world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
    alice, address = client_of(world.alice), "/api/v1/organizations/acme/share-links/"
    made = alice.post(address, {"bot": str(bot.pk), "shows_posts": False}, content_type="application/json")
    assert made.status_code == 201
    path = made.json()["address"].partition("//")[2].partition("/")[2]
    assert visit(f"/{path}").status_code == 200
    assert [row["id"] for row in alice.get(f"{address}?bot={bot.pk}").json()["results"]] == [made.json()["id"]]
    revoked = alice.post(f"{address}{made.json()['id']}/revoke/").json()
    assert (revoked["address"], bool(revoked["revoked_at"])) == ("", True)
    assert visit(f"/{path}").status_code == 404
    past = {"bot": str(bot.pk), "expires_at": "2020-01-01T00:00:00Z"}
    assert alice.post(address, past, content_type="application/json").status_code == 400
    assert client_of(world.bob).get(address).status_code == 403
