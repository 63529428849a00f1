"""Pages and API of replies: the rules, what was seen, and the candidates."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots.models import Bot, Incoming, ReplyCandidate, ReplyRules
from faces.registry import FACES
from tests.accounts.test_pages import trouble_of
from tests.everything import Everything, make_everything
from tests.factories import World, client_of, make_bot, make_connection
from tests.fake_platform import FakePlatform, StubKind, fake_face

PATCH: Any = {"content_type": "application/json"}


@pytest.fixture
def made(world: World) -> Everything:
    with tenant(world.acme.pk):
        return make_everything()


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


def _url(bot: Bot, rest: str = "") -> str:
    return f"/o/acme/bots/{bot.pk}/replies/{rest}"


def show(client: Client, url: str) -> str:
    """A page that its own policy lets work."""
    answer = client.get(url)
    assert trouble_of(answer) == []
    return answer.content.decode()


def _form(**fields: Any) -> dict[str, Any]:
    filled = {
        "youngest_minutes": 0, "oldest_minutes": 1440, "deepest": 4, "per_thread": 2, "per_author": 3, "per_hour": 10,
        "candidates": 10, "least_realism": 0.3, "every_minutes": 5,
    }  # fmt: skip
    return filled | fields


def test_the_list_shows_what_was_seen_with_state_and_reason(alice: Client, world: World, made: Everything) -> None:
    with tenant(world.acme.pk):
        Incoming.objects.filter(remote_id="mention-2").update(state="skipped", reason="It is a <b>repost</b>.")
    page = show(alice, _url(made.bot))
    assert "It is a &lt;b&gt;repost&lt;/b&gt;." in page
    assert "What do you think?" in page
    assert "answer: waiting for review" in page
    assert "This bot answers nobody." in page
    skipped = alice.get(_url(made.bot, "?state=skipped")).content.decode()
    assert ("And you?" in skipped, "What do you think?" in skipped) == (True, False)
    assert "Nothing in this state." in alice.get(_url(made.bot, "?state=failed")).content.decode()


def test_long_lists_have_pages(alice: Client, world: World, made: Everything) -> None:
    with tenant(world.acme.pk):
        first = Incoming.objects.get(remote_id="mention-2")
        Incoming.objects.bulk_create(
            Incoming(bot=made.bot, remote_id=f"x{n}", at=first.at, seen_at=first.at, state="skipped", text=f"No {n}")
            for n in range(30)
        )
    first_page = alice.get(_url(made.bot, "?state=skipped"))
    assert first_page.text.count("post-card__foot") == 25
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first_page.text)
    second = alice.get(_url(made.bot, unescape(older)))
    assert second.text.count("post-card__foot") == 5
    assert {row["row"].pk for row in second.context["seen"]}.isdisjoint(
        row["row"].pk for row in first_page.context["seen"]
    )
    assert alice.get(_url(made.bot, "?state=skipped&page=nonsense")).text.count("post-card__foot") == 25


def test_a_seen_post_shows_its_thread_and_both_scores_of_every_candidate(
    alice: Client, world: World, made: Everything
) -> None:
    with tenant(world.acme.pk):
        Incoming.objects.filter(pk=made.incoming.pk).update(parents=[["bo", "Look at the <i>moon</i>!"]])
        ReplyCandidate.objects.create(
            incoming=made.incoming, position=1, text="Who knows?", realism=0.25, verdict="Another one promised more."
        )
    page = show(alice, _url(made.bot, f"{made.incoming.pk}/"))
    for words in ("Look at the &lt;i&gt;moon", "What do you think?", "0.80", "0.40", "Taken", "Who knows?", "0.25"):
        assert words in page
    assert "Another one promised more." in page
    assert "Approve" in page
    answer = made.incoming.answer
    assert answer is not None
    with tenant(world.acme.pk):
        answer.provenance = {"incoming": str(made.incoming.pk)}
        answer.save()
    assert _url(made.bot, f"{made.incoming.pk}/") in alice.get(f"/o/acme/bots/{made.bot.pk}/posts/{answer.pk}/").text


def test_the_list_says_what_was_answered_and_by_which_choice(alice: Client, world: World, made: Everything) -> None:
    with tenant(world.acme.pk):
        for position, verdict in enumerate(["Another one promised more.", "It is held for a machine's."], start=1):
            ReplyCandidate.objects.create(incoming=made.incoming, position=position, text="No", verdict=verdict)
        Incoming.objects.filter(pk=made.incoming.pk).update(url="https://platform.example/1")
        ReplyRules.objects.filter(bot=made.bot).update(active=True, per_hour=7)
    page = " ".join(show(alice, _url(made.bot)).split())
    assert "realism 0.80 · expected score 0.40" in page
    assert "2 of 3 candidates could be sent; the taken one has the highest expected score." in page
    assert 'href="https://platform.example/1"' in page
    # The one that was answered, and the one that was chosen and is promised an answer.
    assert "<dt>of 7 answers this hour</dt><dd>2</dd>" in page
    assert f"/review/?post={made.incoming.answer_id}" in page


def test_another_bots_post_is_not_shown(alice: Client, world: World, made: Everything) -> None:
    with tenant(world.acme.pk):
        other = make_bot()
    assert alice.get(_url(other, f"{made.incoming.pk}/")).status_code == 404


def test_rules_are_turned_on_by_a_form(alice: Client, world: World, made: Everything) -> None:
    page = show(alice, _url(made.bot, "rules/"))
    assert "On Sandbox, bots never answer unasked." in page
    assert 'name="communities"' not in page
    fields = _form(active="on", mentions="on", keywords="moon\n sun \n", languages="EN, de", least_score="")
    answer = alice.post(_url(made.bot, "rules/"), fields)
    assert answer.status_code == 302
    with tenant(world.acme.pk):
        rules = ReplyRules.objects.get(bot=made.bot)
        assert AuditEntry.objects.filter(action="replies.change").count() == 1
    assert (rules.active, rules.mentions, rules.comments, rules.least_score) == (True, True, False, None)
    assert (rules.keywords, rules.languages) == (["moon", "sun"], ["en", "de"])
    assert "Looks every 5 minutes for mentions;" in alice.get(_url(made.bot)).content.decode()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"languages": "English"}, "is no code of a language"),
        ({"oldest_minutes": 0}, "greater than or equal to 1"),
        ({"youngest_minutes": 2000}, "The oldest age must be greater"),
        ({"least_realism": 2}, "less than or equal to 1"),
        ({"per_hour": ""}, "This field is required"),
    ],
)
def test_rules_that_cannot_be_are_told_at_their_field(
    alice: Client, world: World, made: Everything, fields: dict[str, Any], words: str
) -> None:
    answer = alice.post(_url(made.bot, "rules/"), _form(active="on", **fields))
    assert (answer.status_code, words in answer.content.decode()) == (400, True)
    with tenant(world.acme.pk):
        assert not ReplyRules.objects.get(bot=made.bot).active


def test_communities_need_a_permission_where_the_platform_has_them(
    monkeypatch: pytest.MonkeyPatch, alice: Client, world: World
) -> None:
    reads: Any = frozenset({"mentions", "communities"})
    face = fake_face(FakePlatform(), can_reply=True, reads=reads, replies="community")
    monkeypatch.setitem(FACES, "fake", StubKind(face))
    with tenant(world.acme.pk):
        bot = make_bot(make_connection("fake"))
    answer = alice.post(_url(bot, "rules/"), _form(communities="moon"))
    assert "Say where these communities allow bots" in answer.content.decode()
    assert alice.post(_url(bot, "rules/"), _form(communities="moon", community_permission="r/moon")).status_code == 302


def test_the_api_reads_and_changes_the_rules(alice: Client, world: World, made: Everything) -> None:
    url = f"/api/v1/organizations/acme/reply-rules/{made.bot.pk}/"
    told = alice.get(url).json()
    assert (told["bot"], told["active"], told["per_hour"]) == (str(made.bot.pk), False, 10)
    changed = alice.patch(url, {"active": True, "keywords": ["moon"], "problem": "mine"}, **PATCH)
    assert (changed.status_code, changed.json()["keywords"], changed.json()["problem"]) == (200, ["moon"], "")
    refused = alice.patch(url, {"communities": ["moon"]}, **PATCH)
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["communities"])
    with tenant(world.acme.pk):
        bare = make_bot()
    assert alice.get(f"/api/v1/organizations/acme/reply-rules/{bare.pk}/").json()["active"] is False


def test_the_api_lists_what_was_seen_with_its_candidates(alice: Client, made: Everything) -> None:
    url = "/api/v1/organizations/acme/incoming/"
    (row,) = alice.get(f"{url}?bot={made.bot.pk}&state=answered").json()["results"]
    assert row == alice.get(f"{url}{made.incoming.pk}/").json()
    assert (row["remote_id"], row["author"], row["state"]) == ("mention-1", "ann", "answered")
    (candidate,) = row["candidates"]
    assert (candidate["realism"], candidate["score"], candidate["chosen"]) == (0.8, 0.4, True)
