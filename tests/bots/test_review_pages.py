"""Pages and API of review: one post at a time, by forms, with skipping and undoing."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.tenancy import tenant
from bots.models import Bot, Decision, Incoming, Post
from tests.accounts.test_pages import trouble_of
from tests.factories import World, client_of, make_bot, make_member, make_post, make_verdict

HTMX: Any = {"headers": {"HX-Request": "true"}}
JSON: Any = {"content_type": "application/json"}


@pytest.fixture
def bot(world: World) -> Any:
    with tenant(world.acme.pk):
        yield make_bot(name="Writer")


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


@pytest.fixture
def moderator(world: World) -> Client:
    return client_of(make_member(world.acme, "moderator").user)


def at(bot: Bot, rest: str = "") -> str:
    return f"/o/acme/bots/{bot.pk}/review/{rest}"


def decide(client: Client, post: Post, **fields: Any) -> Any:
    return client.post(at(post.bot, f"{post.pk}/decide/"), {"sha256": post.payload_sha256} | fields, follow=True)


def shown(answer: Any) -> str:
    """The text of the post on the page; "" for none."""
    post = answer.context["post"]
    return post["row"].text if post else ""


def test_a_post_is_shown_with_what_helps_to_decide(alice: Client, bot: Bot) -> None:
    known = {
        "predicted": 0.31,
        "predicted_sd": 0.4,
        "nearest_text": "A <b>close</b> text",
        "shared_run": 12,
        "version": 3,
    }
    post = make_post(bot, text="The <i>only</i> post", arm="learning", provenance=known)
    make_verdict(post, value="flag", reason="Look at the link.")
    answer = alice.get(at(bot))
    assert trouble_of(answer) == []
    page = answer.content.decode()
    for words in ("The &lt;i&gt;only", "0.31 sd", "± 0.40", "A &lt;b&gt;close", "12 characters in a row", "v3"):
        assert words in page
    for words in ("Look at the link.", "1 post waits", "no slot is free", f"/posts/{post.pk}/", "Not our voice"):
        assert words in page


def test_an_answer_is_shown_with_what_it_answers_and_a_part_with_the_part_before(alice: Client, bot: Bot) -> None:
    reply = make_post(bot, text="I think so", kind="reply", reply_to="remote-7")
    moment = reply.created_at
    Incoming.objects.create(
        bot=bot,
        remote_id="remote-7",
        author="ann",
        text="Is it?",
        at=moment,
        seen_at=moment,
        state="answered",
        answer=reply,
    )
    assert "Is it?" in alice.get(at(bot)).text
    part = make_post(bot, text="And then", continues=make_post(bot, "published", "First"))
    page = alice.get(at(bot, f"?post={part.pk}")).text
    assert "It continues a thread after:" in page


def test_posts_are_decided_on_one_after_the_other_without_scripts(alice: Client, bot: Bot) -> None:
    first, second, third = (make_post(bot, text=f"Text number {n}") for n in range(3))
    answer = decide(alice, first, choice="approve")
    assert (shown(answer), "Approved:" in answer.text) == (second.text, True)
    answer = decide(alice, second, choice="decline", reason="Dull", other="")
    assert (shown(answer), "Declined, “Dull”:" in answer.text) == (third.text, True)
    answer = decide(alice, third, choice="decline", reason="Dull", other="In my own words")
    assert "Nothing waits for review." in answer.text
    assert [(row.choice, row.reason) for row in Decision.objects.all()] == [
        ("approved", ""), ("declined", "Dull"), ("declined", "In my own words"),
    ]  # fmt: skip


def test_decisions_are_taken_back_in_turn(alice: Client, bot: Bot) -> None:
    first, second = (make_post(bot, text=f"Text number {n}") for n in range(2))
    decide(alice, first, choice="approve")
    answer = decide(alice, second, choice="decline")
    assert answer.context["undoable"].post_id == second.pk
    answer = alice.post(at(bot, f"{second.pk}/undo/"), follow=True)
    assert (shown(answer), answer.context["undoable"].post_id) == (second.text, first.pk)
    answer = alice.post(at(bot, f"{first.pk}/undo/"), follow=True)
    assert (shown(answer), answer.context["undoable"]) == (first.text, None)
    assert (Decision.objects.count(), set(Post.objects.values_list("state", flat=True))) == (0, {"pending_review"})
    assert "no decision on this post" in alice.post(at(bot, f"{first.pk}/undo/"), follow=True).text


def test_a_rewritten_post_is_shown_again_to_be_approved(alice: Client, bot: Bot) -> None:
    post = make_post(bot, text="As it was")
    make_post(bot, text="Another")
    answer = decide(alice, post, choice="edit", text="As it should be")
    assert (shown(answer), answer.context["undoable"].choice) == ("As it should be", "edited")
    refused = alice.post(at(bot, f"{post.pk}/decide/"), {"choice": "edit", "text": "x" * 400})
    assert (refused.status_code, "at most 280" in refused.text, "x" * 400 in refused.text) == (400, True, True)


def test_two_at_once_do_not_decide_twice(alice: Client, moderator: Client, bot: Bot) -> None:
    first, second = (make_post(bot, text=f"Text number {n}") for n in range(2))
    assert shown(alice.get(at(bot))) == shown(moderator.get(at(bot))) == first.text
    decide(alice, first, choice="approve")
    answer = decide(moderator, first, choice="decline")
    assert "alice@kilroy.example was faster: this post is “approved” by now." in answer.text
    assert shown(answer) == second.text
    assert Decision.objects.get().choice == "approved"
    assert "only who decides can take it back" in moderator.post(at(bot, f"{first.pk}/undo/"), follow=True).text


def test_skipped_posts_come_back_when_asked_for(alice: Client, bot: Bot) -> None:
    first, second = (make_post(bot, text=f"Text number {n}") for n in range(2))
    assert shown(decide(alice, first, choice="skip")) == second.text
    answer = decide(alice, second, choice="skip")
    assert "You skipped all posts that wait." in answer.text
    assert shown(alice.post("/o/acme/review/again/", {"bot": bot.pk}, follow=True)) == first.text


def test_all_bots_are_reviewed_one_after_the_other(alice: Client, bot: Bot) -> None:
    earlier = make_bot(name="Author")
    theirs, ours = make_post(earlier, text="Theirs"), make_post(bot, text="Ours")
    answer = alice.get("/o/acme/review/")
    assert trouble_of(answer) == []
    assert (shown(answer), answer.context["waiting"]) == ("Theirs", 2)
    assert shown(decide(alice, theirs, choice="approve", all="1")) == "Ours"
    answer = decide(alice, ours, choice="skip", all="1")
    assert "You skipped the post that waits." in answer.text
    assert shown(alice.post(at(earlier, f"{theirs.pk}/undo/"), {"all": "1"}, follow=True)) == "Theirs"


def test_htmx_gets_the_next_post_alone(alice: Client, bot: Bot) -> None:
    first, second = (make_post(bot, text=f"Text number {n}") for n in range(2))
    answer = alice.post(at(bot, f"{first.pk}/decide/"), {"choice": "approve"}, **HTMX)
    assert (shown(answer), "<html" in answer.text) == (second.text, False)
    assert 'hx-swap-oob="innerHTML">Approved. 1 left.' in answer.text
    refused = alice.post(at(bot, f"{second.pk}/decide/"), {"choice": "edit", "text": " "}, **HTMX)
    assert (refused.status_code, "Write something, or add an image." in refused.text) == (400, True)


def test_who_may_not_write_may_not_rewrite(moderator: Client, world: World, bot: Bot) -> None:
    post = make_post(bot)
    assert 'name="text"' not in moderator.get(at(bot)).text
    assert decide(moderator, post, choice="edit", text="Mine").status_code == 403
    assert client_of(world.bob).get(at(bot)).status_code == 403


def test_strange_questions_are_answered(alice: Client, bot: Bot) -> None:
    post, other = make_post(bot), make_post(make_bot())
    assert alice.get(at(bot, "?post=nonsense")).status_code == 200
    assert alice.get(at(bot, f"?post={other.pk}")).status_code == 200
    assert alice.post(at(bot, f"{other.pk}/decide/"), {"choice": "approve"}).status_code == 404
    assert alice.post(at(bot, f"{post.pk}/decide/"), {"choice": "burn"}).status_code == 400
    assert alice.post("/o/acme/review/again/", {"bot": "nonsense"}).status_code == 302


def test_the_page_asks_few_questions_however_much_waits(alice: Client, bot: Bot) -> None:
    for number in range(40):
        make_post(bot, text=f"Text number {number}", provenance={"predicted_sd": number})
    alice.get(at(bot))
    for address in (at(bot), "/o/acme/review/", at(bot, "agreement/")):
        with CaptureQueriesContext(connection) as queries:
            assert alice.get(address).status_code == 200
        assert len(queries) <= 18, address  # those of the session and the shell among them


def test_the_api_reviews(alice: Client, moderator: Client, bot: Bot) -> None:
    address = f"/api/v1/organizations/acme/review/{bot.pk}/"
    post, flagged, other = make_post(bot, text="One"), make_post(bot, text="Two"), make_post(make_bot())
    make_verdict(flagged, value="flag")
    told = alice.get(address).json()
    assert (told["waiting"], [each["text"] for each in told["posts"]]) == (2, ["One", "Two"])
    body = {"post": str(post.pk), "choice": "approve", "payload_sha256": post.payload_sha256}
    assert alice.post(f"{address}decide/", body, **JSON).json()["state"] == "approved"
    assert moderator.post(f"{address}decide/", body, **JSON).status_code == 409
    assert moderator.post(f"{address}undo/", {"post": str(post.pk)}, **JSON).status_code == 409
    assert alice.post(f"{address}undo/", {"post": str(post.pk)}, **JSON).json()["state"] == "pending_review"
    edit = {"post": str(post.pk), "choice": "edit", "text": "Three"}
    assert moderator.post(f"{address}decide/", edit, **JSON).status_code == 403
    assert alice.post(f"{address}decide/", edit, **JSON).json()["text"] == "Three"
    assert alice.post(f"{address}decide/", body | {"post": str(other.pk)}, **JSON).status_code == 400
    assert alice.get(f"{address}agreement/").json()["model"]["auc"] is None
