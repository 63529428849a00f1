"""Stedden's pipeline, picked once: from a file of comment–reply pairs to an answer that its critics chose."""

from __future__ import annotations

import csv
import io
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile

from accounts.clock import SimulatedClock, simulated
from bots import reply_choice
from bots.models import Bot, Incoming, Post, ReplyCandidate
from bots.services import posts, replies, watching
from faces.models import Connection
from tests.factories import World, client_of, make_dataset
from tests.training.engine.conftest import POSTS, _one_thread, tiny_model_folder
from training.models import Dataset, Example, ModelVersion, Run
from training.services import datasets, runs, stedden
from training.services import replies as answering
from training.services.worker import advance_run

__all__ = ["_one_thread", "tiny_model_folder"]  # fixtures

START = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
RULES = {"candidates": 10, "least_realism": 0.9, "youngest_minutes": 1, "every_minutes": 10}


@pytest.fixture
def now() -> Iterator[SimulatedClock]:
    with simulated(START) as running:
        yield running


def import_pairs(bot: Bot, count: int) -> Dataset:
    """Comment–reply pairs from a file, each reply by somebody else, every second one scored; readers like one word."""
    luck, file = random.Random(1), io.StringIO()
    rows = csv.writer(file)
    rows.writerow(["comment_text", "reply_text", "score", "author", "created_at"])
    for number in range(count):
        text, score = luck.choice(POSTS), luck.randint(0, 1)
        at = START - timedelta(days=400) + timedelta(hours=number)
        comment = f"{luck.choice(POSTS)} {number}"
        score = score + 6 * ("bread" in text) if number % 2 else ""
        rows.writerow([comment, text, score, f"author {number}", at.isoformat()])
    told = {"name": "Pairs", "source": "a forum", "licence": "free", "may_learn": True}
    dataset = datasets.upload_dataset(bot, SimpleUploadedFile("pairs.csv", file.getvalue().encode()), **told)
    datasets.request_import(dataset.pk)
    return datasets.import_dataset(dataset.pk)


def asked(bot: Bot, now: SimulatedClock) -> list[Incoming]:
    """Comments of the simulated audience's that the bot has chosen."""
    for number, text in enumerate(POSTS):
        bot.connection.face.publish(posts.OutgoingPost(text), f"key {number}")
    rules = replies.change_rules(bot, active=True, per_hour=100, per_thread=10, per_author=100)
    now.advance(timedelta(hours=2))
    assert watching.look_for_posts(rules.pk) > 0
    return list(Incoming.objects.filter(state="chosen"))


def rules_of(bot: Bot) -> dict[str, Any]:
    return {name: getattr(replies.rules_of(bot), name) for name in RULES}


def test_from_pairs_to_an_answer(
    monkeypatch: pytest.MonkeyPatch, bot: Bot, tiny_model_folder: Path, now: SimulatedClock
) -> None:
    """The whole way with the real engine and its own limits."""
    from training import gpu

    seeds = itertools.count()
    monkeypatch.setattr(answering.secrets, "randbelow", lambda most: next(seeds))
    bot.base_model = str(tiny_model_folder)
    bot.save()
    tiny = {"max_epochs": 2, "learning_rate": 3e-3, "warmup_steps": 2, "context": 64, "seed": 1}
    run = stedden.start(bot, {import_pairs(bot, 560): 1.0}, tiny)
    assert run.config["conditions"] == "context"
    assert rules_of(bot) == RULES
    assert not replies.rules_of(bot).active

    engine = gpu.GpuEngine()
    while run.state in Run.LIVING:
        advance_run(run.pk, engine)
        run.refresh_from_db()
    assert (run.state, run.error) == ("finished", "")
    version = ModelVersion.objects.get()
    assert version.is_current
    realist, upvotes = version.report["discriminator"], version.report["upvotes"]
    assert realist["may_reject"], realist
    assert len(upvotes["classes"]) == 4
    assert upvotes["macro_auc_author"] > 0.6
    assert upvotes["macro_auc_author_on"] == "posts that the language model was not fine-tuned on"

    for incoming in asked(bot, now):
        table = answer(incoming, engine)
        cut = [each for each in table if each.verdict.startswith("It passes for a person's")]
        kept = [
            each for each in table if not each.verdict.startswith(("It passes for", "It is empty", "It breaks off"))
        ]
        assert len(table) == 10
        assert all(each.realism is not None and each.realism <= 0.9 for each in cut)
        assert all(each.realism is not None and each.realism > 0.9 for each in kept)
        assert table[: len(kept)] == kept
        for ranked in (kept, table[len(kept) :]):
            found = [each.score or 0.0 for each in ranked]
            assert found == sorted(found, reverse=True)
        if incoming.state == "answered":
            break
    # The tiny model writes gibberish, and most of its candidates are cut; but of some comments one is left.
    assert (incoming.state, bool(cut)) == ("answered", True)
    (taken,) = [each for each in kept if each.chosen]
    assert taken.score == max(each.score or 0.0 for each in kept if each.chosen or each.verdict == reply_choice.BEATEN)
    assert 0 < taken.score <= 3
    assert Post.objects.get(answers=incoming).text == taken.text.strip()


def answer(incoming: Incoming, engine: Any) -> list[ReplyCandidate]:
    answering.answer_incoming(incoming.pk, engine)
    incoming.refresh_from_db()
    return list(incoming.candidates.all())


@pytest.mark.parametrize(
    ("change", "config", "words"),
    [
        ({"context": ""}, {}, "None of these posts says what it answers"),
        ({"score": None}, {}, "0 of the pairs have a score, in 0 classes"),
        ({"score": 7.0}, {}, "700 of the pairs have a score, in 1 classes"),
        ({"author": ""}, {}, "of these 700, 10% would be. Import at least 1,500 pairs, or pairs that name their auth"),
        ({"author": ""}, {"conditions": "author"}, "name “context” among the conditions"),
        ({}, {"heldout_author_share": 0.0}, "of these 700, 10% would be. Import at least 1,500 pairs."),
    ],
)
def test_what_the_pairs_lack_is_named_and_nothing_begins(
    bot: Bot, change: dict[str, Any], config: dict[str, Any], words: str
) -> None:
    dataset = rated_pairs(bot)
    Example.objects.update(**change)
    with pytest.raises(ValidationError) as refused:
        stedden.start(bot, {dataset: 1.0}, config)
    assert words in " ".join(refused.value.messages)
    assert not Run.objects.exists()
    assert replies.rules_of(bot).least_realism == 0.3


def rated_pairs(bot: Bot, count: int = 700) -> Dataset:
    dataset = make_dataset(bot, examples=count)
    for example in Example.objects.all():
        example.context, example.author = f"Comment {example.position}", f"author {example.position}"
        example.score = float(example.position % 9)
        example.save()
    return dataset


def test_a_platform_without_anything_to_answer_is_named(monkeypatch: pytest.MonkeyPatch, bot: Bot) -> None:
    dataset = rated_pairs(bot)
    mute = replace(bot.connection.capabilities, can_reply=False)
    monkeypatch.setattr(Connection, "capabilities", mute)
    with pytest.raises(ValidationError, match="cannot read what could be answered"):
        stedden.start(bot, {dataset: 1.0})
    assert not Run.objects.exists()


def test_another_run_under_way_leaves_the_rules_as_they_are(bot: Bot) -> None:
    dataset = rated_pairs(bot)
    runs.start_finetune(bot, dataset)
    with pytest.raises(ValidationError, match="Another run of this bot is under way"):
        stedden.start(bot, {dataset: 1.0})
    assert replies.rules_of(bot).least_realism == 0.3


def test_it_is_picked_on_the_page_of_runs(bot: Bot, world: World) -> None:
    dataset, client = rated_pairs(bot), client_of(world.alice)
    base = f"/o/acme/bots/{bot.pk}/runs/"
    assert "Stedden&#x27;s pipeline: A bot that answers, from comment–reply pairs" in client.get(base).content.decode()
    body = {"kind": "online", "preset": "stedden", "dataset": [str(dataset.pk)]}
    refused = client.post(f"{base}start/", body)
    assert (refused.status_code, Run.objects.count()) == (400, 0)
    assert "This preset is not for online learning." in refused.content.decode()
    html = client.post(f"{base}start/", body | {"kind": "offline", "offline-seed": "5"}, follow=True).content.decode()
    assert "Turn replies on when the version is there." in html
    run = Run.objects.get()
    assert (run.config["conditions"], run.config["heldout_author_share"], run.config["seed"]) == ("context", 0.2, 5)
    assert rules_of(bot) == RULES
    assert "Stedden's pipeline: the bot's rules for replies were set by" in run.events.get(text__contains="rules").text
