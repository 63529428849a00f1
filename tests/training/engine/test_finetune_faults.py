"""Offline training with bad input: memory runs out, posts that break it, damaged files, models that do not fit."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.engine.test_checkpoints import flip_a_byte
from tests.training.engine.test_finetune import as_posts, never, quiet, stop_after, weights
from tests.training.engine.trainings import PLAIN, Build, builder, watch_loss
from training.engine import checkpoints, memory, quarantine
from training.engine.errors import EngineError, ModelUnavailable, OutOfMemory, TrainingDiverged
from training.engine.finetune import Finetune
from training.engine.packing import PackedRows
from training.engine.types import FinetuneConfig


@pytest.fixture
def build(tiny_model_folder: Path, tmp_path: Path, posts: list[str]) -> Build:
    return builder(tiny_model_folder, tmp_path, posts)


def at_most(rows_that_fit: int, words: str = "DefaultCPUAllocator: can't allocate memory") -> Callable[[Any], None]:
    def check(rows: PackedRows) -> None:
        if len(rows) > rows_that_fit:
            raise RuntimeError(words)

    return check


def test_memory_that_runs_out_halves_the_batch_and_changes_nothing_else(build: Build) -> None:
    config = replace(PLAIN, context=24, rows_per_step=64)
    halved, small = build("halved", config), build("small", replace(config, micro_rows=1))
    rows = len(halved._batches.step(0, lambda number: False))
    watch_loss(halved, at_most(1))
    seen: list[float] = []
    report = halved.run(never, lambda step, m: seen.append(m["micro_rows"]) if "micro_rows" in m else None)
    small.run(never, quiet)

    assert rows == 5
    assert (report.micro_rows, report.halvings) == (1, 3)
    assert [note.rpartition(":")[2] for note in report.notes] == [
        " since then 3 rows are computed at once.",
        " since then 2 rows are computed at once.",
        " since then 1 rows are computed at once.",
    ]
    assert set(seen) == {1.0}
    assert weights(halved) == weights(small)
    assert build("halved", config).report() == report


def test_memory_that_runs_out_a_fourth_time_ends_the_training_with_advice(build: Build) -> None:
    config = replace(PLAIN, context=16, rows_per_step=64)
    training = build(config=config)
    watch_loss(training, at_most(0, "[enforce fail] DefaultCPUAllocator: not enough memory"))

    with pytest.raises(OutOfMemory, match="Choose a smaller model or a smaller “context”"):
        training.run(never, quiet)
    assert training.report().step == 0
    assert build(config=config).report().step == 0


def test_at_most_three_halvings() -> None:
    from training.engine.stepping import Halving

    halving = Halving()
    for expected in (8, 4, 2):
        halving = halving.again(16, None)
        assert halving.rows == expected
    with pytest.raises(OutOfMemory):
        halving.again(16, None)
    with pytest.raises(OutOfMemory):
        Halving(1).again(16, None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory"), True),
        (MemoryError(), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_running_out_of_memory_is_recognised(error: Exception, expected: bool) -> None:
    assert memory.ran_out(error) is expected


def poison(training: Finetune, text: str, fault: Callable[[], None]) -> None:
    """`fault` happens whenever the post `text` is among the rows to learn from."""
    needle = training.model.tokenizer.encode(text)

    def check(rows: PackedRows) -> None:
        for row in rows.input_ids.tolist():
            if any(row[at : at + len(needle)] == needle for at in range(len(row))):
                fault()

    watch_loss(training, check)


def broken() -> None:
    raise ZeroDivisionError("a broken row")


def test_a_post_that_raises_is_left_out_and_the_training_goes_on(build: Build, posts: list[str]) -> None:
    training = build()
    poison(training, posts[2], broken)
    report = training.run(never, quiet)

    assert report.finished
    assert report.step == training.total_steps
    assert report.quarantined == {"key 2": "It broke the training off, alone too: ZeroDivisionError: a broken row"}
    state = json.loads(next((training.workdir / "checkpoints").glob("*")).joinpath("state.json").read_text())
    assert list(state["quarantined"]) == ["2"]
    # It stays out in the next process, without being tried again.
    assert build().report() == report


def test_a_post_whose_loss_is_not_a_number_is_no_divergence(build: Build, posts: list[str]) -> None:
    training = build()
    needle = training.model.tokenizer.encode(posts[4])
    original = training.model.loss

    def loss(rows: PackedRows) -> torch.Tensor:
        hit = any(
            row[1 : 1 + len(needle)] == needle or str(needle)[1:-1] in str(row) for row in rows.input_ids.tolist()
        )
        return original(rows) * (math.nan if hit else 1.0)

    training.model.loss = loss  # type: ignore[method-assign]
    report = training.run(never, quiet)

    assert report.finished
    assert report.quarantined == {"key 4": "Its loss is not a number, alone too."}
    assert all(math.isfinite(v) for row in weights(training).values() for v in row)


def test_a_held_out_post_whose_loss_is_not_a_number_is_left_out(build: Build, posts: list[str]) -> None:
    training = build()
    needle = str(training.model.tokenizer.encode(posts[7]))[1:-1]
    original = training.model.loss
    training.model.loss = lambda rows: (
        original(rows)
        * (  # type: ignore[method-assign]
            math.nan if needle in str(rows.input_ids.tolist()) else 1.0
        )
    )
    report = training.run(stop_after(1), quiet)

    assert report.quarantined == {"post 8": "Its loss is not a number, alone too."}
    assert report.best_heldout_loss is not None


def test_a_fault_of_the_training_blames_no_post(build: Build) -> None:
    training = build()
    watch_loss(training, lambda rows: broken())

    with pytest.raises(ZeroDivisionError):
        training.run(never, quiet)
    assert training.report().quarantined == {}


def test_every_loss_not_a_number_is_a_divergence(build: Build) -> None:
    training = build()
    training.run(stop_after(1), quiet)
    with torch.no_grad():
        next(iter(training.model.network.parameters()))[:] = math.nan

    with pytest.raises(TrainingDiverged):
        training.run(never, quiet)
    assert training.report().quarantined == {}


class Died(BaseException):
    """Stands for the end of the process: nothing in the engine may catch it."""


def die() -> None:
    raise Died


def test_a_post_that_kills_the_process_twice_alone_is_left_out(build: Build, posts: list[str]) -> None:
    deaths, report = 0, None
    while report is None:
        training = build()
        poison(training, posts[3], die)
        try:
            report = training.run(never, quiet)
        except Died:
            deaths += 1
            assert training.report().quarantined == {}

    assert deaths == 3  # in its step, and twice alone
    assert report.finished
    assert report.quarantined == {"key 3": "The training process died of it 2 times when it was computed alone."}


def test_a_healthy_training_that_is_killed_blames_nothing_and_keeps_its_bits(build: Build) -> None:
    straight = build("straight")
    straight.run(never, quiet)
    for step in (2, 5, 6):
        training = build()
        hits = iter(range(100))
        watch_loss(training, lambda rows, hits=hits, step=step: die() if next(hits) == step else None)
        with pytest.raises(Died):
            training.run(never, quiet)
        assert (training.workdir / quarantine.IN_WORK).exists()
    resumed = build()
    report = resumed.run(never, quiet)

    assert report.quarantined == {}
    assert weights(resumed) == weights(straight)
    assert not (resumed.workdir / quarantine.IN_WORK).exists()


def test_a_pause_while_posts_are_looked_at_alone_counts_no_death(build: Build, posts: list[str]) -> None:
    training = build()
    poison(training, posts[3], die)
    with pytest.raises(Died):
        training.run(never, quiet)
    for _ in range(5):  # each of these slices looks at one post and is told to stop
        build().run(stop_after(1), quiet)
    report = build().run(never, quiet)

    assert report.finished
    assert report.quarantined == {}


def test_a_step_that_kills_again_and_again_with_nothing_to_blame_is_given_up(tmp_path: Path) -> None:
    for _ in range(quarantine.MOST_DEATHS):
        process = quarantine.Quarantine(tmp_path, 8)
        assert process.after_death(lambda number: 1.0, never)
        process.begin(6, [1, 2])

    with pytest.raises(EngineError, match="died 5 times in a row in step 7"):
        quarantine.Quarantine(tmp_path, 8).after_death(lambda number: 1.0, never)


def test_a_flipped_byte_costs_a_slice_and_is_said(build: Build) -> None:
    straight = build("straight")
    straight.run(never, quiet)
    build().run(stop_after(4), quiet)
    second = build()
    second.run(stop_after(2), quiet)
    flip_a_byte(sorted((second.workdir / "checkpoints").iterdir())[-1] / checkpoints.TENSORS)
    resumed = build()

    assert resumed.report().step == 4
    assert resumed.report().notes == (
        "The checkpoint of step 6 was damaged, so the training went on from the one before it, of step 4.",
    )
    resumed.run(never, quiet)
    assert weights(resumed) == weights(straight)


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 100_000)
    monkeypatch.setattr("training.engine.models.causal.CausalLanguageModel.load", broken)

    with pytest.raises(OutOfMemory, match=r"needs about 0\.\d GB of memory, and 0\.0 GB are free.*“lora”"):
        build()


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"shape"', b'"shbpe"'), (b'"shape":[', b'"shape":7,"x":['), (b'{"', b'[["'), (b'"shape":', b'"shape"=')],
)
def test_a_damaged_header_is_left_to_loading(tiny_model_folder: Path, tmp_path: Path, old: bytes, new: bytes) -> None:
    """`describe` looks before it, and must not be what fails."""
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))
    path = folder / "model.safetensors"
    assert memory.describe(str(folder)) is not None
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))

    assert memory.describe(str(folder)) is None


def test_a_header_that_is_no_object_is_left_to_loading(tmp_path: Path) -> None:
    for header in (b"[]", b"7", b'{"a": 1}', b'{"a": {"shape": [1, 2]}, "b": null}'):
        (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        assert memory.describe(str(tmp_path)) is None


def test_needs_by_hand(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.engine.models.causal.fast_in_bfloat16", lambda: True)
    shapes = {"a.weight": (100, 10), "a.bias": (100,)}
    full = FinetuneConfig()
    lora = replace(full, method="lora", lora_rank=2)

    assert memory.needed_bytes(shapes, full) == 4 * (1100 + 1100 * 4)
    assert memory.needed_bytes(shapes, replace(full, optimizer="sgd")) == 4 * (1100 + 1100 * 3)
    assert memory.needed_bytes(shapes, replace(full, frozen="*.bias")) == 4 * (1100 + 1000 * 4)
    # What is made ready for drawing is half as large, and more than the gradients where most weights are frozen.
    assert memory.needed_bytes(shapes, replace(full, frozen="*.weight")) == 4 * (1100 + 100 * 3 + 550)
    # 220 weights of adapters; their sums with 1000 weights are taken while it is tested.
    assert memory.needed_bytes(shapes, replace(lora, samples_per_evaluation=0)) == 4 * (1320 + 220 * 3 + 1000)
    assert memory.needed_bytes(shapes, lora) == 4 * (1320 + 220 * 3 + 1000 + 660)
    assert memory.needed_bytes(shapes, replace(lora, lora_targets="b*")) == 4 * (1100 + 550)
    tables = shapes | {"wte.weight": (50, 10)}
    assert memory.needed_bytes(tables, lora) == 4 * (1820 + 220 * 3 + 1000 + 910)
    assert memory.needed_bytes(tables, replace(lora, conditions="topic")) == 4 * (1820 + 720 * 3 + 1000 + 910)
    described = memory.describe(str(tiny_model_folder))
    assert described is not None
    assert described["transformer.wpe.weight"] == (64, 32)


def test_a_tokenizer_without_an_end_token_is_refused(tiny_model_folder: Path, tmp_path: Path, posts: list[str]) -> None:
    base = Path(shutil.copytree(tiny_model_folder, tmp_path / "endless"))
    settings = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(settings | {"eos_token": None}))

    with pytest.raises(ModelUnavailable, match="has no end token"):
        Finetune(base, as_posts(posts[:6]), as_posts(posts[6:]), PLAIN, tmp_path / "run")
