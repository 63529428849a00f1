"""Held-out posts that break the training, and evaluations that memory is short for."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.engine.test_finetune import never, quiet, stop_after, weights
from tests.training.engine.test_finetune_faults import Died, at_most
from tests.training.engine.trainings import PLAIN, Build, builder, watch_loss
from training.engine import quarantine
from training.engine.errors import NothingToTestOn, OutOfMemory
from training.engine.finetune import Finetune
from training.engine.packing import PackedRows
from training.engine.types import FinetuneConfig

LORA = replace(PLAIN, method="lora", lora_rank=4)


@pytest.fixture
def build(tiny_model_folder: Path, tmp_path: Path, posts: list[str]) -> Build:
    return builder(tiny_model_folder, tmp_path, posts)


def poison(training: Finetune, text: str, fault: Exception | type[BaseException], from_step: int = 0) -> None:
    """`fault` is raised whenever the post `text` is among the rows to test on, from that step on."""
    needle = str(training.model.tokenizer.encode(text))[1:-1]

    def check(rows: PackedRows) -> None:
        if training.report().step >= from_step and needle in str(rows.input_ids.tolist()):
            raise fault

    watch_loss(training, check, testing=True)


@pytest.mark.parametrize("step", [0, 8])
@pytest.mark.parametrize("config", [PLAIN, LORA])
def test_a_held_out_post_that_kills_the_process_is_left_out(
    build: Build, posts: list[str], config: FinetuneConfig, step: int
) -> None:
    deaths, report, losses = 0, None, dict[int, float]()
    while report is None:
        assert deaths < 4
        training = build(config=config)
        # What kills at a step kills the process that looks for it, too, though it begins at an earlier one.
        poison(training, posts[6], Died, 0 if deaths in (1, 2) else step)
        try:
            report = training.run(never, lambda at, m: losses.update({at: m.get("heldout_loss", math.nan)}))
        except Died:
            deaths += 1
            assert training.report().quarantined == {}
    straight = build("straight", config)
    before = dict[int, float]()
    straight.run(stop_after(8), lambda at, m: before.update({at: m.get("heldout_loss", math.nan)}))

    assert deaths == 3  # in its batch, and twice alone
    assert report.finished
    assert report.quarantined == {"post 7": "The training process died of it 2 times when it was computed alone."}
    assert (losses[0] == before[0]) is (step > 0)
    assert losses[8] != before[8]
    assert not (training.workdir / quarantine.IN_WORK).exists()


def test_a_held_out_post_that_raises_is_left_out_and_changes_no_weight(build: Build, posts: list[str]) -> None:
    training, straight = build(), build("straight")
    poison(training, posts[7], ZeroDivisionError("a broken row"))
    report = training.run(never, quiet)
    straight.run(never, quiet)

    assert report.quarantined == {"post 8": "It broke the training off, alone too: ZeroDivisionError: a broken row"}
    assert weights(training) == weights(straight)


def test_a_training_killed_while_it_tests_keeps_its_bits(build: Build) -> None:
    straight = build("straight")
    straight.run(never, quiet)
    for step in (0, 4, 8):
        training = build()
        watch_loss(training, lambda rows, step=step, training=training: die_at(training, step), testing=True)
        with pytest.raises(Died):
            training.run(never, quiet)
        assert (training.workdir / quarantine.IN_WORK).exists()
    resumed = build()

    assert resumed.run(never, quiet) == straight.report()
    assert weights(resumed) == weights(straight)


def die_at(training: Finetune, step: int) -> None:
    if training.report().step == step and training.workdir.joinpath(quarantine.IN_WORK).exists():
        left = json.loads(training.workdir.joinpath(quarantine.IN_WORK).read_text())
        if not left["alone"]:
            raise Died


def test_without_a_held_out_post_left_the_training_ends_with_advice(build: Build, posts: list[str]) -> None:
    training = build(heldout=posts[6:7])
    poison(training, posts[6], ZeroDivisionError("a broken row"), from_step=4)

    with pytest.raises(NothingToTestOn, match="start the training again, and it tests on others") as caught:
        training.run(never, quiet)
    assert list(caught.value.quarantined) == ["post 7"]


@pytest.mark.parametrize("micro_rows", [0, 1])
def test_memory_that_runs_out_while_it_tests_halves_the_batch(build: Build, posts: list[str], micro_rows: int) -> None:
    config = replace(PLAIN, context=32, rows_per_step=64, micro_rows=micro_rows)
    training, straight = build(config=config, heldout=posts), build("straight", replace(config, micro_rows=0), posts)
    watch_loss(training, at_most(1), testing=True)
    losses, expected = list[float](), list[float]()
    report = training.run(never, lambda at, m: losses.append(m["heldout_loss"]) if "heldout_loss" in m else None)
    straight.run(never, lambda at, m: expected.append(m["heldout_loss"]) if "heldout_loss" in m else None)

    assert report.finished
    assert (report.micro_rows, report.halvings) == ((1, 0) if micro_rows else (1, 3))
    assert len(losses) > 2
    assert losses == pytest.approx(expected, abs=0.01)


def test_a_post_that_memory_is_too_small_for_ends_an_evaluation_with_advice(build: Build) -> None:
    training = build()
    watch_loss(training, at_most(0), testing=True)

    with pytest.raises(OutOfMemory, match="Choose a smaller model or a smaller “context”"):
        training.run(never, quiet)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[1]", "7", '{"x": {"step": 0, "reason": ""}}', '{"3": {"stdp": 0, "reason": ""}}', '{"3": 1}',
     '{"99": {"step": 0, "reason": ""}}', '{"3": {"step": null, "reason": ""}}'],
)  # fmt: skip
def test_a_list_that_cannot_be_understood_is_no_list(tmp_path: Path, content: str) -> None:
    tmp_path.joinpath(quarantine.LIST).write_text(content)

    assert quarantine.Quarantine(tmp_path, 8).entries == {}


@pytest.mark.parametrize(
    "changed",
    [{"stdp": 3}, {"step": "3"}, {"posts": 4}, {"posts": [99]}, {"posts": ["a"]}, {"posts": [], "alone": True},
     {"earlier": None}],
)  # fmt: skip
def test_work_that_cannot_be_understood_is_no_work(tmp_path: Path, changed: dict[str, Any]) -> None:
    seen: list[int] = []

    def compute(number: int) -> float:
        seen.append(number)
        return 1.0

    left = {"step": 3, "posts": [1, 2], "earlier": 0}
    tmp_path.joinpath(quarantine.IN_WORK).write_text(json.dumps(left | changed))
    assert quarantine.Quarantine(tmp_path, 8).after_death(compute, never)
    assert seen == []
    tmp_path.joinpath(quarantine.IN_WORK).write_text(json.dumps(left))
    assert quarantine.Quarantine(tmp_path, 8).after_death(compute, never)
    assert seen == [1, 2]


def test_what_was_left_out_is_known_from_the_checkpoint_too(build: Build, posts: list[str]) -> None:
    training = build()
    poison(training, posts[7], ZeroDivisionError("a broken row"))
    report = training.run(stop_after(5), quiet)
    straight = build("straight")
    poison(straight, posts[7], ZeroDivisionError("a broken row"))
    straight.run(never, quiet)
    training.workdir.joinpath(quarantine.LIST).write_text("{")
    resumed = build()

    assert resumed.report().quarantined == report.quarantined == straight.report().quarantined
    assert resumed.run(never, quiet) == straight.report()
    assert weights(resumed) == weights(straight)
