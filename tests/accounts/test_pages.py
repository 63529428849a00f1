"""Every page, empty and full: it renders, escapes what people wrote, and keeps to the content security policy."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from accounts.services import sign_in_link
from accounts.tenancy import tenant
from bots.models import Bot, Post
from faces.contract import OutgoingPost
from tests.everything import Everything, make_everything
from tests.factories import World, client_of, make_bot, make_connection
from tests.routes import PAGES, ids_of
from training.models import Dataset, ModelVersion, Run, SampleSet

EVIL = '<script>alert("1")</script><img src=x onerror=alert(1)> {{ 7|add:7 }} {% now "Y" %} \'"&'
MISSING_UNTIL_POSTED = "images/<str:sha256>/"


class Page(HTMLParser):
    """What a policy against inline code looks at."""

    def __init__(self, html: str, nonce: str) -> None:
        super().__init__(convert_charrefs=True)
        self.nonce, self.trouble, self.addresses = nonce, [], []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        where = self.getpos()
        if tag in ("script", "style") and "src" not in found and found.get("nonce") != self.nonce:
            self.trouble.append(f"{where}: an inline <{tag}> without the nonce")
        for name, value in attributes:
            if name == "style" or name.startswith(("on", "hx-on")):
                self.trouble.append(f"{where}: <{tag} {name}={value}>")
            if (value or "").strip().lower().startswith("javascript:"):
                self.trouble.append(f"{where}: <{tag} {name}={value}>")
        if tag in ("script", "link", "img", "iframe", "form"):
            address = found.get("src") or found.get("href") or found.get("action") or ""
            if re.match(r"(\w+:)?//", address):
                self.trouble.append(f"{where}: <{tag}> leads to {address}")
            self.addresses.append(address)


def trouble_of(answer: Any) -> list[str]:
    """What is wrong with a page under its policy; empty when nothing is."""
    policy = answer.headers["Content-Security-Policy"]
    nonce = re.search(r"script-src 'self' 'nonce-([\w-]+)'", policy)
    if nonce is None or "unsafe" in policy:
        return [f"the policy is {policy}"]
    return Page(answer.content.decode(), nonce[1]).trouble


def _walk(world: World, made: Everything) -> dict[str, Any]:
    """Every page that can be opened, as its owner sees it."""
    client, found = client_of(world.alice), {}
    for route in PAGES:
        answer = client.get(route.url("acme", ids_of(made, route)), follow=True)
        if answer.status_code != 405 and MISSING_UNTIL_POSTED not in route.pattern:
            found[route.pattern] = answer
    assert len(found) > 20
    return found


def _check(pages: dict[str, Any]) -> None:
    assert {pattern: answer.status_code for pattern, answer in pages.items() if answer.status_code != 200} == {}
    for pattern, answer in pages.items():
        if answer.headers["Content-Type"].startswith("text/html"):
            assert trouble_of(answer) == [], pattern


def _unrendered(answer: Any) -> list[str]:
    return re.findall(r"\{\{|\{%|\{#|#\}|%\}|\}\}(?!\})", re.sub(r"content='[^']*'", "", answer.content.decode()))


@pytest.fixture
def full(world: World) -> Everything:
    with tenant(world.acme.pk):
        made = make_everything()
        made.posts["published"].provenance = {
            "version": 1,
            "predicted": 0.75,
            "predicted_sd": 0.2,
            "prompt": "TIL",
            "sampling": {"temperature": 0.9},
            "beaten": [["A weaker text", 0.1]],
            "nearest_text": "A past post",
            "shared_run": 12,
        }
        made.posts["published"].save()
        made.connection.face.publish(OutgoingPost("A post in the feed"), "key")
        return made


@pytest.fixture
def empty(world: World) -> str:
    """The address of a bot with nothing but itself."""
    with tenant(world.acme.pk):
        return f"/o/acme/bots/{make_bot().pk}/"


def test_every_page_of_a_living_bot(world: World, full: Everything) -> None:
    pages = _walk(world, full)
    _check(pages)
    assert {pattern: _unrendered(answer) for pattern, answer in pages.items() if "html" in answer["Content-Type"]} == {
        pattern: [] for pattern, answer in pages.items() if "html" in answer["Content-Type"]
    }


def test_every_page_shows_a_post_in_every_state(world: World, full: Everything) -> None:
    client = client_of(world.alice)
    for state, post in full.posts.items():
        for url in (f"/o/acme/bots/{full.bot.pk}/posts/{post.pk}/", f"/o/acme/bots/{full.bot.pk}/posts/?state={state}"):
            answer = client.get(url)
            assert (answer.status_code, trouble_of(answer)) == (200, []), url
            assert post.text in answer.content.decode(), url


def test_every_page_of_a_new_bot(world: World, empty: str) -> None:
    client = client_of(world.alice)
    tabs = [route.pattern.split("<uuid:bot_id>/", 1)[1] for route in PAGES if "<uuid:bot_id>" in route.pattern]
    answers = {tab: client.get(empty + tab, follow=True) for tab in tabs if "<" not in tab}
    opened = {tab: answer for tab, answer in answers.items() if answer.status_code != 405}
    _check(opened)
    assert {"", "settings/", "posts/", "datasets/", "runs/", "models/", "schedule/"} < set(opened)


def test_an_address_that_only_takes_forms_says_so(world: World, full: Everything) -> None:
    answer = client_of(world.alice).get(f"/o/acme/bots/{full.bot.pk}/queue/import/")
    assert (answer.status_code, answer["Allow"], trouble_of(answer)) == (405, "POST", [])
    assert "Nothing was sent" in answer.content.decode()


def test_the_home_of_a_new_organization(world: World) -> None:
    answer = client_of(world.alice).get("/o/acme/")
    assert (answer.status_code, trouble_of(answer)) == (200, [])


def test_pages_for_a_viewer(world: World, full: Everything) -> None:
    client = client_of(world.bob)
    for route in PAGES:
        answer = client.get(route.url("acme", ids_of(full, route)))
        if answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/html"):
            assert trouble_of(answer) == [], route.pattern
            assert not re.search(r'formaction="[^"]*/approve/', answer.content.decode()), route.pattern


def test_what_people_wrote_is_text_wherever_it_stands(world: World, full: Everything) -> None:
    with tenant(world.acme.pk):
        Bot.objects.update(name=EVIL[:120], description=EVIL, blocklist=[EVIL])
        Post.objects.update(text=EVIL, last_error=EVIL, decline_reason=EVIL, provenance={"prompt": EVIL})
        Dataset.objects.update(name=EVIL[:120], source=EVIL, licence=EVIL, error=EVIL)
        Run.objects.update(error=EVIL)
        ModelVersion.objects.update(tags=[EVIL])
        SampleSet.objects.update(texts=[EVIL])
        full.connection.face.publish(OutgoingPost(EVIL), "another key")
    world.alice.name = EVIL[:120]
    world.alice.save()
    world.acme.name = EVIL[:120]
    world.acme.save()
    pages = _walk(world, full)
    _check(pages)
    ended = {name: answer for name, answer in pages.items() if answer["Content-Type"] != "text/event-stream"}
    shown = [pattern for pattern, answer in ended.items() if b"&lt;script&gt;alert" in b"".join(answer)]
    assert len(shown) > 15  # it was there to be escaped


@pytest.mark.parametrize("url", ["/sign-in/", "/api/docs/", "/no/such/page", "/o/acme/", "/o/acme/bots/new/"])
@pytest.mark.parametrize("signed_in", [True, False])
def test_pages_outside_of_organizations(world: World, url: str, signed_in: bool) -> None:
    client = client_of(world.alice) if signed_in else Client()
    answer = client.get(url, follow=True)
    assert answer.status_code == (404 if "no" in url.split("/") else 200)
    assert trouble_of(answer) == []


def test_the_page_of_a_sign_in_link(world: World) -> None:
    answer = Client().get(sign_in_link(world.alice))
    assert (answer.status_code, trouble_of(answer)) == (200, [])


def test_the_page_of_a_refusal(world: World, full: Everything) -> None:
    answer = client_of(world.bob).get(f"/o/acme/bots/{full.bot.pk}/settings/")
    assert (answer.status_code, trouble_of(answer)) == (403, [])


def test_each_answer_has_a_nonce_of_its_own(world: World) -> None:
    policies = {Client().get("/sign-in/").headers["Content-Security-Policy"] for _ in range(5)}
    assert len(policies) == 5


def test_every_answer_forbids_being_framed_and_sniffed(world: World, full: Everything) -> None:
    for pattern, answer in _walk(world, full).items():
        assert answer.headers["X-Frame-Options"] == "DENY", pattern
        assert answer.headers["X-Content-Type-Options"] == "nosniff", pattern
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], pattern


def test_an_image_is_shown_to_its_organization_as_what_it_is(world: World, full: Everything) -> None:
    url = f"/o/acme/bots/{full.bot.pk}/posts/{full.post.pk}/images/{full.image.pk}/"
    answer = client_of(world.bob).get(url)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert b"".join(answer.streaming_content).startswith(b"\x89PNG")
    other = full.posts["approved"]
    assert client_of(world.bob).get(url.replace(str(full.post.pk), str(other.pk))).status_code == 404


# What people get wrong


def _posted(world: World, url: str, data: dict[str, Any]) -> tuple[Any, str]:
    answer = client_of(world.alice).post(url, data, follow=True)
    return answer, answer.content.decode()


def test_a_bot_is_made_with_its_sandbox(world: World) -> None:
    answer, _ = _posted(
        world,
        "/o/acme/bots/new/",
        {"name": "Headlines", "connection": "new:sandbox", "base_model": "starter", "approval": "review"},
    )
    with tenant(world.acme.pk):
        bot = Bot.objects.select_related("connection").get()
    assert answer.redirect_chain[-1][0] == f"/o/acme/bots/{bot.pk}/datasets/upload/"
    assert (bot.name, bot.connection.kind) == ("Headlines", "sandbox")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "This field is required"),
        ({"name": "x" * 121}, "at most 120"),
        ({"connection": "new:myspace"}, "Select a valid choice"),
        ({"connection": "theirs"}, "Select a valid choice"),
        ({"approval": "always"}, "Select a valid choice"),
        ({"name": "Taken"}, "choose another name"),
        ({"name": "a\0b"}, "Null characters"),
    ],
)
def test_a_bot_that_cannot_be_is_refused_in_words(world: World, change: dict[str, str], words: str) -> None:
    with tenant(world.globex.pk):
        theirs = make_connection()
    with tenant(world.acme.pk):
        make_bot(name="Taken")
    data = {"name": "New", "connection": "new:sandbox", "base_model": "starter", "approval": "review"} | change
    if data["connection"] == "theirs":
        data["connection"] = str(theirs.pk)
    answer, html = _posted(world, "/o/acme/bots/new/", data)
    assert answer.status_code == 400
    assert words in html
    with tenant(world.acme.pk):
        assert Bot.objects.count() == 1


SETTINGS = {"name": "Bot", "description": "", "approval": "review", "score_formula": "likes", "blocklist": ""}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score_formula": "1/likes"}, "divides by zero"),
        ({"score_formula": "__import__('os')"}, "cannot stand in a formula"),
        ({"score_formula": "retweets"}, "no value “retweets”"),
        ({"score_formula": "x" * 301}, "at most 300"),
        ({"posts_per_day": "0"}, "greater than or equal to 1"),
        ({"posts_per_day": "99999999999"}, "ess than or equal to"),
        ({"name": " "}, "required"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(
    world: World, full: Everything, change: dict[str, str], words: str
) -> None:
    answer, html = _posted(world, f"/o/acme/bots/{full.bot.pk}/settings/", SETTINGS | change)
    assert answer.status_code == 400
    assert words in html.replace("&#x27;", "'")
    with tenant(world.acme.pk):
        assert Bot.objects.get(pk=full.bot.pk).score_formula == full.bot.score_formula


def test_settings_show_how_soon_reactions_come(world: World, full: Everything) -> None:
    with tenant(world.acme.pk):
        Bot.objects.update(reading_ages=[80, 1440], reward_age=1440)
    html = client_of(world.alice).get(f"/o/acme/bots/{full.bot.pk}/settings/").content.decode()
    assert "<dt>after 80 min</dt><dd>50 %</dd><dt>after 1440 min</dt><dd>100 %</dd>" in html


def test_settings_are_saved(world: World, full: Everything) -> None:
    change = {"name": "Renamed", "score_formula": "likes", "blocklist": "one\n\n two \n", "posts_per_day": "3"}
    answer, html = _posted(world, f"/o/acme/bots/{full.bot.pk}/settings/", SETTINGS | change)
    assert (answer.status_code, "Saved." in html) == (200, True)
    with tenant(world.acme.pk):
        bot = Bot.objects.get(pk=full.bot.pk)
    assert (bot.name, bot.score_formula, bot.blocklist, bot.posts_per_day) == ("Renamed", "likes", ["one", "two"], 3)


RULE = {"kind": "cron", "cron": "0 9 * * *", "zone": "UTC", "misfire": "late", "misfire_minutes": "60"}


@pytest.mark.parametrize("button", [{}, {"preview": "1"}])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cron": "nonsense"}, "five fields"),
        ({"cron": "0 0 30 2 *"}, "never fires"),
        ({"zone": "Mars/Olympus"}, "no time zone"),
        ({"kind": "timetable", "timetable": "someday"}, "no time of the week"),
        ({"kind": "timetable"}, "at least one time"),
        ({"kind": "interval"}, "at least one second"),
        ({"kind": "interval", "interval_seconds": "0"}, "greater than or equal to 1"),
        ({"misfire_minutes": "-1"}, "greater than or equal to 1"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_in_words(
    world: World, empty: str, change: dict[str, str], words: str, button: dict[str, str]
) -> None:
    answer, html = _posted(world, f"{empty}schedule/", RULE | change | button)
    assert (answer.status_code, words in html) == (400, True)


def test_a_schedule_is_previewed_without_being_saved(world: World, empty: str) -> None:
    answer, html = _posted(world, f"{empty}schedule/", RULE | {"preview": "1"})
    assert (answer.status_code, html.count("09:00") >= 10) == (200, True)
    with tenant(world.acme.pk):
        assert not Bot.objects.get(pk=answer.context["bot"].pk).schedules.exists()
    answer, html = _posted(world, f"{empty}schedule/", RULE)
    assert "Saved." in html


@pytest.mark.parametrize("field", ["text", "reason"])
@pytest.mark.parametrize("verb", ["edit", "decline", "pause", "new"])
def test_a_nul_character_is_no_accident(world: World, full: Everything, verb: str, field: str) -> None:
    base = f"/o/acme/bots/{full.bot.pk}/"
    url = {"pause": f"{base}pause/", "new": f"{base}posts/new/"}.get(verb, f"{base}posts/{full.post.pk}/{verb}/")
    assert client_of(world.alice).post(url, {field: "a\0b", "sha256": "\0"}).status_code < 500


@pytest.mark.parametrize(
    "query", ["?page=0", "?page=-1", "?page=x", "?page=999999999999999999999", "?state=nonsense", "?state=%00&page=%00"]
)
def test_a_strange_page_number_shows_a_page(world: World, full: Everything, query: str) -> None:
    base = f"/o/acme/bots/{full.bot.pk}/"
    for tab in ("posts/", "datasets/", "runs/", "models/", f"datasets/{full.dataset.pk}/"):
        assert client_of(world.alice).get(f"{base}{tab}{query}").status_code == 200
    assert client_of(world.alice).get(f"/o/acme/connections/{full.connection.pk}/sandbox/{query}").status_code == 200


@pytest.mark.parametrize(
    "url", ["/o/acme/bots/not-a-uuid/", "/o/ACME!/", "/o/acme/bots/%00/", "/api/v1/organizations/acme/bots/%00/"]
)
def test_a_strange_address_is_missing(world: World, url: str) -> None:
    assert client_of(world.alice).get(url).status_code == 404


def test_approving_on_the_page_binds_to_what_was_seen(world: World, full: Everything) -> None:
    url = f"/o/acme/bots/{full.bot.pk}/posts/{full.post.pk}/approve/"
    _, html = _posted(world, url, {"sha256": "0" * 64})
    assert "edited after you opened it" in html
    with tenant(world.acme.pk):
        assert Post.objects.get(pk=full.post.pk).state == "pending_review"
        seen = Post.objects.get(pk=full.post.pk).payload_sha256
    _posted(world, url, {"sha256": seen})
    with tenant(world.acme.pk):
        post = Post.objects.get(pk=full.post.pk)
    assert (post.state, post.approved_by) == ("approved", "alice@kilroy.example")


def test_an_impossible_step_is_told_and_not_taken(world: World, full: Everything) -> None:
    post = full.posts["published"]
    _, html = _posted(world, f"/o/acme/bots/{full.bot.pk}/posts/{post.pk}/cancel/", {})
    assert "cannot become" in html
    with tenant(world.acme.pk):
        assert Post.objects.get(pk=post.pk).state == "published"


def test_a_person_without_script_and_one_with_get_the_same_done(world: World, full: Everything) -> None:
    url = f"/o/acme/bots/{full.bot.pk}/posts/{full.post.pk}/decline/"
    answer = client_of(world.alice).post(url, {"reason": "no"}, headers={"HX-Request": "true"})
    assert (answer.status_code, trouble_of(answer)) == (200, [])
    assert "<html" not in answer.content.decode()
    other = full.posts["approved"]
    answer = client_of(world.alice).post(f"/o/acme/bots/{full.bot.pk}/posts/{other.pk}/cancel/")
    assert answer.headers["Location"] == f"/o/acme/bots/{full.bot.pk}/posts/{other.pk}/"
