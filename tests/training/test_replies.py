"""From a post that a bot chose to its answer: with an engine that says what a test wrote, and with the real one on a
tiny model, all the way to the sandbox.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from accounts.clock import SimulatedClock, simulated
from bots.models import Bot, Incoming, Post, ReplyCandidate
from bots.services import bots as bot_services
from bots.services import delivery, posts, replies, reply_sending, scheduling, scores, watching
from tests.factories import World, make_bot, make_dataset
from tests.training.engine.conftest import POSTS, _one_thread, tiny_model_folder
from tests.training.fake_engine import FakeEngine
from training import history
from training.engine.errors import EngineError
from training.engine.types import RankedReply, ReplyRanking
from training.models import Dataset, Example, ModelVersion
from training.services import replies as answering
from training.services import runs
from training.services.worker import advance_run

__all__ = ["_one_thread", "tiny_model_folder"]  # fixtures

START = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
QUESTION = "Scientists found water on the far side of the moon. What happens next?"
RANKING = ReplyRanking(
    "", (RankedReply("Ice, mostly.", 0.9, 2.5, shared_run=2), RankedReply("So they say.", 0.2, 1.0, "Too unreal.", 0))
)


@pytest.fixture
def now() -> Iterator[SimulatedClock]:
    with simulated(START) as running:
        yield running


@pytest.fixture
def asked(bot: Bot, now: SimulatedClock) -> Incoming:
    """A comment of the simulated audience's that the bot has chosen."""
    return _asked(bot, now)


def _asked(bot: Bot, now: SimulatedClock) -> Incoming:
    bot.connection.face.publish(posts.OutgoingPost(QUESTION), "a key")
    rules = replies.change_rules(bot, active=True)
    now.advance(timedelta(hours=2))
    assert watching.look_for_posts(rules.pk) > 0
    incoming: Incoming = Incoming.objects.filter(state="chosen", depth=1).earliest("at")
    Incoming.objects.exclude(pk=incoming.pk).delete()
    return incoming


def test_candidates_are_conditioned_on_the_thread_and_the_best_is_proposed(
    asked: Incoming, start: ModelVersion, engine: FakeEngine
) -> None:
    engine.ranking = replace(RANKING, notes=("The discriminator is not reliable.",))
    answering.answer_incoming(asked.pk, engine)
    assert engine.contexts == [f"{QUESTION}\n{asked.text}"]
    asked.refresh_from_db()
    assert (asked.state, asked.reason) == ("answered", "The discriminator is not reliable.")
    post = Post.objects.get(answers=asked)
    assert (post.text, post.reply_to, post.model_version_id) == ("Ice, mostly.", asked.remote_id, start.pk)
    assert (post.state, post.provenance["shared_run"]) == ("approved", 2)
    assert list(asked.candidates.values_list("realism", "score", "verdict", "chosen")) == [
        (0.9, 2.5, "", True),
        (0.2, 1.0, "Too unreal.", False),
    ]
    answering.answer_incoming(asked.pk, engine)
    assert len(engine.contexts) == 1


def test_the_rules_say_how_many_and_how_real(asked: Incoming, start: ModelVersion, engine: FakeEngine) -> None:
    told: dict[str, Any] = {}
    rank = engine.rank_replies

    def remember(*arguments: Any, **options: Any) -> Any:
        told.update(options)
        return rank(*arguments, **options)

    engine.rank_replies = remember  # type: ignore[method-assign]
    replies.change_rules(asked.bot, candidates=4, least_realism=0.6)
    answering.answer_incoming(asked.pk, engine)
    assert (told["candidates"], told["least_realism"]) == (4, 0.6)
    assert len(told["training"]()) == 40
    assert ReplyCandidate.objects.count() == 4


@pytest.mark.parametrize(
    ("ranking", "reason"),
    [
        (replace(RANKING, reads_context=False), answering.READS_NOTHING),
        (ReplyRanking("", (RankedReply("Yes.", None, 2.0),)), "This version has no discriminator"),
        (ReplyRanking("", (RankedReply("Yes.", None, None),)), "This version has neither"),
    ],
)
def test_a_version_that_cannot_choose_answers_nobody_and_says_what_to_do(
    asked: Incoming, start: ModelVersion, engine: FakeEngine, ranking: ReplyRanking, reason: str
) -> None:
    engine.ranking = ranking
    answering.answer_incoming(asked.pk, engine)
    asked.refresh_from_db()
    assert asked.state == "failed"
    assert asked.reason.startswith(reason)
    assert "fine-tune" in asked.reason
    assert not Post.objects.exists()


def test_a_bot_without_a_model_says_so(asked: Incoming, engine: FakeEngine) -> None:
    answering.answer_incoming(asked.pk, engine)
    asked.refresh_from_db()
    assert (asked.state, asked.reason) == ("failed", answering.NO_MODEL)


def test_what_the_engine_cannot_do_is_told(asked: Incoming, start: ModelVersion, engine: FakeEngine) -> None:
    engine.fault = EngineError("The memory is full.")
    answering.answer_incoming(asked.pk, engine)
    asked.refresh_from_db()
    assert (asked.state, asked.reason) == ("failed", "The memory is full.")


def test_a_paused_bot_draws_nothing_and_goes_on_afterwards(
    asked: Incoming, start: ModelVersion, engine: FakeEngine, rung: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    bot_services.pause_bot(asked.bot)
    answering.answer_incoming(asked.pk, engine)
    assert (engine.contexts, answering.ring_waiting()) == ([], 0)
    bot_services.resume_bot(asked.bot)
    with django_capture_on_commit_callbacks(execute=True):
        assert answering.ring_waiting() == 1
    assert rung[-1] == (replies.ANSWER, str(asked.organization_id), str(asked.pk))


def test_a_post_that_was_taken_down_meanwhile_is_not_answered(
    asked: Incoming, start: ModelVersion, engine: FakeEngine
) -> None:
    asked.bot.connection.face.delete(asked.root_id)
    answering.answer_incoming(asked.pk, engine)
    asked.refresh_from_db()
    assert (asked.state, asked.reason) == ("skipped", "Nobody can answer it any more: it was deleted.")


def test_replies_are_no_lesson_for_new_posts(asked: Incoming, start: ModelVersion, engine: FakeEngine) -> None:
    before = (history.upcoming_count(asked.bot), history.decisions(asked.bot))
    engine.ranking = RANKING
    answering.answer_incoming(asked.pk, engine)
    assert Post.objects.filter(kind="reply", arm="learning").count() == 1
    assert (history.upcoming_count(asked.bot), history.decisions(asked.bot)) == before


@pytest.fixture
def pairs(bot: Bot) -> Dataset:
    """Comment–reply pairs, each by somebody else; the readers like one word."""
    dataset, luck = make_dataset(bot), random.Random(1)
    rows = []
    for number in range(220):
        text = luck.choice(POSTS)
        rows.append(
            Example(
                dataset=dataset,
                position=number,
                text=text,
                context=f"{luck.choice(POSTS)} {number}",
                score=6.0 * ("bread" in text) + luck.randint(0, 1),
                author=f"author {number}",
                posted_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number),
                may_learn=True,
            )
        )
    Example.objects.bulk_create(rows)
    dataset.example_count = len(rows)
    dataset.save()
    return dataset


def test_a_bot_learns_from_pairs_and_answers_on_the_sandbox(
    monkeypatch: pytest.MonkeyPatch, acme: World, bot: Bot, pairs: Dataset, tiny_model_folder: Path, now: SimulatedClock
) -> None:
    """The whole way with the real engine; only the discriminator is content with fewer posts than usual."""
    from training import gpu
    from training.engine.critics import discriminator

    monkeypatch.setattr(discriminator, "FEWEST", 8)
    monkeypatch.setattr(answering.secrets, "randbelow", lambda most: 7)
    bot.base_model = str(tiny_model_folder)
    bot.save()
    engine = gpu.GpuEngine()
    config = {"conditions": "context", "max_epochs": 2, "learning_rate": 3e-3, "warmup_steps": 2, "context": 64}
    run = runs.start_finetune(bot, pairs, {**config, "heldout_author_share": 0.0, "seed": 1})
    advance_run(run.pk, engine)
    run.refresh_from_db()
    assert (run.state, run.error) == ("finished", "")
    report = ModelVersion.objects.get().report
    assert report["discriminator"]["trained"]
    assert report["upvotes"]["trained"]

    asked = _asked(bot, now)
    answering.answer_incoming(asked.pk, engine)
    asked.refresh_from_db()
    assert (asked.state, asked.candidates.count()) == ("answered", 10), asked.reason
    table = list(asked.candidates.all())
    assert all(candidate.realism is not None and candidate.score is not None for candidate in table)
    (taken,) = [candidate for candidate in table if candidate.chosen]
    allowed = [candidate.score for candidate in table if candidate.chosen or "promised" in candidate.verdict]
    assert taken.score == max(score for score in allowed if score is not None)
    assert {bool(candidate.verdict) for candidate in table if not candidate.chosen} <= {True}

    post = Post.objects.get(answers=asked)
    assert isinstance(post.provenance["shared_run"], int)
    if post.state == "pending_review":  # a tiny model's words may look odd to a rule
        posts.approve_post(post.pk)
    assert reply_sending.send_approved() == 1
    scheduling.queue_due()
    assert delivery.deliver_post(post.pk) == "published"
    post.refresh_from_db()
    found = bot.connection.face.look_up(post.remote_id or "")
    assert found is not None
    assert (found.text, found.reply_to) == (taken.text.strip(), asked.remote_id)
    now.advance(timedelta(hours=1))
    scores.read_due_scores()
    assert post.observations.count() == 1


def test_another_bots_rules_are_its_own(asked: Incoming) -> None:
    assert not replies.rules_of(make_bot()).active
