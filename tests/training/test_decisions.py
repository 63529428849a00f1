"""People's decisions as a round is told them."""

from __future__ import annotations

from accounts import audit
from bots.models import Bot
from bots.services import posts
from tests.factories import make_bot, make_decision, make_post
from tests.training.fake_engine import FakeEngine
from training import history
from training.engine.online_decisions import preference_pairs
from training.engine.types import Decision
from training.models import Run
from training.services.worker import advance_run

ALICE = audit.Actor("alice")


def test_decisions_come_in_order_of_time_and_an_edit_prefers_the_new_wording(bot: Bot) -> None:
    with audit.acting(ALICE):
        dull = make_post(bot, text="A dull one", arm="learning")
        posts.decline_post(make_post(bot, text="A loud one", arm="baseline").pk)
        posts.edit_post(dull.pk, "A brighter one")
        posts.approve_post(dull.pk)
    assert history.decisions(bot) == (
        Decision("A loud one", "declined"),
        Decision("A dull one", "declined", rewritten="A brighter one"),
        Decision("A brighter one", "approved"),
    )


def test_the_last_decision_on_a_wording_counts(bot: Bot) -> None:
    with audit.acting(ALICE):
        post = make_post(bot, text="Perhaps", arm="learning")
        posts.decline_post(post.pk)
        posts.decline_post(make_post(bot, text="Never", arm="learning").pk)
        posts.edit_post(post.pk, "Perhaps")  # takes it back into the queue
        posts.approve_post(post.pk)
    assert history.decisions(bot) == (Decision("Never", "declined"), Decision("Perhaps", "approved"))


def test_neither_peoples_own_posts_nor_other_bots_nor_pictures_teach(bot: Bot) -> None:
    make_decision(make_post(bot, arm="human"))
    make_decision(make_post(make_bot(), arm="learning"))
    make_decision(make_post(bot, arm="learning"), text=" ")
    assert history.decisions(bot) == ()


def test_what_was_taken_down_was_said_and_what_was_declined_was_not(bot: Bot) -> None:
    """The latter a round's guard is told as a decision."""
    for state in ("published", "deleted", "scheduled", "declined", "blocked", "cancelled"):
        make_post(bot, state, state, arm="learning")
    assert history.spoken_texts(bot) == ("published", "deleted", "scheduled")


def test_a_round_is_told_them(run: Run, engine: FakeEngine, bot: Bot) -> None:
    make_decision(make_post(bot, "published", "A good one", arm="learning"))
    advance_run(run.pk, engine)
    assert engine.rounds[0].decisions == (Decision("A good one", "approved"),)


def test_an_edit_teaches_the_new_wording_over_the_old_one_and_nothing_else(bot: Bot) -> None:
    with audit.acting(ALICE):
        posts.approve_post(make_post(bot, text="Something else", arm="learning").pk)
        dull = make_post(bot, text="A dull one", arm="learning")
        posts.edit_post(dull.pk, "A brighter one")
        posts.approve_post(dull.pk)
        waiting = make_post(bot, text="A clumsy one", arm="baseline")
        posts.edit_post(waiting.pk, "A smoother one")
        posts.edit_post(waiting.pk, "The smoothest one")
        posts.decline_post(make_post(bot, text="A loud one", arm="learning").pk)
    pairs = preference_pairs(history.decisions(bot))
    assert [(pair.better, pair.worse) for pair in pairs] == [
        ("A brighter one", "A dull one"),
        ("A smoother one", "A clumsy one"),
        ("The smoothest one", "A smoother one"),
        ("A brighter one", "A loud one"),
    ]
