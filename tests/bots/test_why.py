"""Why a post is what it is: what is marked, drawn and told, by hand and on the page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import audit, clock
from accounts.audit import Actor
from accounts.tenancy import tenant
from bots import queries, why
from bots.models import Bot, Post
from bots.services import posts
from bots.why import Forecast, Piece
from tests.factories import World, client_of, make_bot, make_observation, make_post, make_reward

EVIL = '<img src=x onerror="alert(1)">'


@pytest.fixture
def bot(world: World) -> Iterator[Bot]:
    with tenant(world.acme.pk):
        yield make_bot()


@pytest.mark.parametrize(
    ("text", "other", "run"),
    [
        ("the harbour sleeps", "a harbour sleeps in", " harbour sleeps"),
        ("abc", "xyz", ""),
        ("", "abc", ""),
        ("same", "same", "same"),
        ("aaaa", "aa", "aa"),
        ("ħéλ🙂lo", "xé🙂λ🙂l", "λ🙂l"),
    ],
)
def test_the_longest_shared_run(text: str, other: str, run: str) -> None:
    start, length = why.longest_run(text, other)
    assert text[start : start + length] == run


def test_what_is_shared_is_marked_and_nothing_is_lost() -> None:
    assert why.shared("the harbour sleeps", "a harbour") == (
        Piece("the"), Piece(" harbour", "shared"), Piece(" sleeps"),
    )  # fmt: skip
    assert why.shared("abc", "xyz") == (Piece("abc"),)
    assert why.shared("", "xyz") == ()
    long = "a" * 50_000
    assert [len(piece.text) for piece in why.shared(long, long)] == [why.MARKED, 50_000 - why.MARKED]


def test_an_edit_is_told_word_by_word() -> None:
    assert why.changed("a dull  post", "a sharp  post!") == (
        Piece("a "), Piece("dull", "removed"), Piece("sharp", "added"), Piece("  "), Piece("post", "removed"),
        Piece("post!", "added"),
    )  # fmt: skip
    long = "word " * 1000
    assert why.changed(long, "x") == (Piece(long, "removed"), Piece("x", "added"))


def test_a_forecast_says_what_came() -> None:
    within = Forecast(0.5, 1.0, -0.48, 1.48)
    assert within.sentence == (
        "Expected +0.50 sd, with 95 % between −0.48 and +1.48; +1.00 came, which it thought possible."
    )
    assert Forecast(0.5, 2.0, -0.48, 1.48).sentence.endswith("more than it thought possible.")
    assert Forecast(0.5, None, None, None).sentence == "Expected +0.50 sd; what came is not known yet."
    assert within.drawn == {
        "zero": pytest.approx(4 + 92 * 0.48 / 1.96, abs=0.01), "predicted": 50.0, "low": 4.0, "high": 96.0,
        "real": pytest.approx(4 + 92 * 1.48 / 1.96, abs=0.01),
    }  # fmt: skip
    assert set(Forecast(0.0, 0.0, None, None).drawn.values()) == {4.0, None}


def _written(bot: Bot) -> Post:
    return make_post(
        bot,
        text=f"Fresh bread {EVIL} at seven",
        arm="learning",
        provenance={
            "version": 3,
            "predicted": 1.5,
            "predicted_sd": 0.5,
            "sampling": {"temperature": 0.9},
            "beaten": [[f"Weaker {EVIL}", 0.5]],
            "nearest_text": f"Old bread {EVIL} at six",
            "shared_run": 41,
        },
    )


def test_everything_that_is_known_of_a_post(bot: Bot, world: World) -> None:
    post = _written(bot)
    with audit.acting(Actor("alice@kilroy.example", world.alice)):
        posts.edit_post(post.pk, "Fresh rolls at seven")
        posts.approve_post(post.pk)
    for _ in range(queries.FEWEST_FOR_SCALE):
        make_reward(make_post(bot, "published"), value=_ * 1.0)
    post = Post.objects.get(pk=post.pk)
    now = clock.now()
    make_observation(post, 0, metrics={"likes": 3}, observed_at=now + timedelta(hours=1))
    found = why.explain(post, 0.25)
    assert [(each["text"], each["score"], each["chosen"]) for each in found.candidates] == [
        ("Fresh rolls at seven", 1.5, True), (f"Weaker {EVIL}", 0.5, False),
    ]  # fmt: skip
    assert found.forecast == Forecast(1.5, 0.25, pytest.approx(0.52), pytest.approx(2.48))
    (edit,) = found.edits
    assert edit.by == "alice@kilroy.example"
    assert "".join(piece.text for piece in edit.pieces if piece.kind != "added") == f"Fresh bread {EVIL} at seven"
    assert "".join(piece.text for piece in edit.pieces if piece.kind != "removed") == "Fresh rolls at seven"
    assert [(step.label, step.detail) for step in found.timeline] == [
        ("Proposed", ""), ("Edited", "by alice@kilroy.example"), ("Approved", "by alice@kilroy.example"),
        ("Read", "3 likes"),
    ]  # fmt: skip


def test_a_persons_post_has_what_a_persons_post_has(bot: Bot) -> None:
    found = why.explain(make_post(bot, "published", published_at=clock.now()), None)
    assert (found.sentence, found.candidates, found.forecast, found.nearest, found.edits) == (
        "A person wrote it.", [], None, (), [],
    )  # fmt: skip
    assert {step.label for step in found.timeline} == {"Written", "Approved", "Published"}


def test_the_page_marks_hostile_text_as_text(world: World, bot: Bot) -> None:
    post = _written(bot)
    page = client_of(world.alice).get(f"/o/acme/bots/{bot.pk}/posts/{post.pk}/")
    html = page.content.decode()
    assert page.status_code == 200
    assert EVIL not in html
    assert "<mark> bread &lt;img src=x onerror=&quot;alert(1)&quot;&gt; at s</mark>" in html
    assert "Expected +1.50 sd" in html


def test_the_page_asks_few_questions(world: World, bot: Bot) -> None:
    post = make_post(bot, "published", arm="learning", provenance={"predicted": 0.1})
    make_reward(post)
    client = client_of(world.alice)
    client.get(f"/o/acme/bots/{bot.pk}/posts/{post.pk}/")
    with CaptureQueriesContext(connection) as asked:
        client.get(f"/o/acme/bots/{bot.pk}/posts/{post.pk}/")
    assert len(asked) <= 15, "\n".join(
        query["sql"].split(";", 1)[-1][:90] + " … " + query["sql"][-160:] for query in asked
    )


def test_over_the_api(world: World, bot: Bot) -> None:
    post = _written(bot)
    answer = client_of(world.bob).get(f"/api/v1/organizations/acme/posts/{post.pk}/why/").json()
    assert [piece["kind"] for piece in answer["nearest"]] == ["same", "shared", "same"]
    assert answer["nearest"][1]["text"].startswith(" bread <img")
    assert [each["score"] for each in answer["candidates"]] == [1.5, 0.5]
    assert (answer["forecast"]["predicted"], answer["shared_run"], answer["edits"]) == (1.5, 41, [])
