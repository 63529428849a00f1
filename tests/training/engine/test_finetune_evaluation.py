"""What an evaluation measures: held-out losses by time and by author, and what the samples have by heart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.engine.test_finetune import CONFIG, as_posts, never, quiet, stop_after
from training.engine.finetune import AUTHORS, Finetune
from training.engine.guards import TextIndex
from training.engine.memorisation import longest_shared_words, measure


def test_shared_words_are_counted_in_a_row() -> None:
    assert longest_shared_words("The cat sat on the mat!", "yesterday the cat sat in the sun") == 3
    assert longest_shared_words("one two", "two one") == 1
    assert longest_shared_words("", "two one") == 0


def test_memorisation_by_hand() -> None:
    training = TextIndex(["the quick brown fox jumps over the lazy dog", "a quiet evening by the sea"])
    samples = [
        "the quick brown fox jumps over the lazy cat",  # 41 characters, 8 words
        "evening news from the harbour town, and not much else to say about it",
        "nothing alike whatsoever",
    ]
    measured = measure(samples, training)

    assert measured.rate == pytest.approx(1 / 3)
    assert (measured.characters, measured.words) == (40, 8)
    assert (measured.sample, measured.nearest_text) == (samples[0], training.texts[0])
    assert measured.metrics == {
        "memorised_rate": pytest.approx(1 / 3), "longest_shared_run": 40.0, "longest_shared_words": 8.0,
    }  # fmt: skip
    assert measure([], training).rate == 0.0


def test_a_model_that_learned_by_heart_is_found_out(tiny_model_folder: Path, tmp_path: Path, posts: list[str]) -> None:
    config = replace(CONFIG, learning_rate=1e-2, max_epochs=60, evaluate_every=60, samples_per_evaluation=3)
    # What is held out is what is learned, so that the last step is the best.
    training = Finetune(tiny_model_folder, as_posts(posts[:6]), as_posts(posts[:6]), config, tmp_path / "run")
    seen: dict[int, float] = {}
    report = training.run(
        never, lambda step, m: seen.update({step: m["memorised_rate"]} if "memorised_rate" in m else {})
    )

    assert seen[0] == 0.0
    assert seen[report.best_step] > 0.5
    assert report.memorisation["memorised_rate"] == seen[report.best_step]
    assert report.memorisation["step"] == report.best_step
    assert report.memorisation["nearest_text"] in posts[:6]
    assert report.memorisation["longest_shared_run"] >= 20
    assert len(report.samples) == 3


def test_authors_kept_out_are_measured_and_do_not_decide(
    tiny_model_folder: Path, tmp_path: Path, posts: list[str]
) -> None:
    seen: dict[str, float] = {}
    training = Finetune(
        tiny_model_folder, as_posts(posts[:5]), as_posts(posts[5:7]), CONFIG, tmp_path / "run", as_posts(posts[7:])
    )
    report = training.run(stop_after(1), lambda step, m: seen.update(m))
    swapped = Finetune(tiny_model_folder, as_posts(posts[:5]), as_posts(posts[7:]), CONFIG, tmp_path / "swapped")
    swapped.run(stop_after(1), quiet)

    assert seen["heldout_loss"] == report.best_heldout_loss
    assert seen["heldout_author_loss"] == report.best_heldout_author_loss == swapped.report().best_heldout_loss
    assert training.heldout_loss(AUTHORS) != training.heldout_loss()
