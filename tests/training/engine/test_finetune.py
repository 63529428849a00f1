"""Offline training learns, stops when it should, and survives being killed without losing a bit."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.engine import checkpoints, finetune
from training.engine.errors import CorruptWeights, TrainingDiverged
from training.engine.finetune import Finetune
from training.engine.models.causal import CausalLanguageModel
from training.engine.types import FinetuneConfig, FinetuneReport, TrainingPost

CONFIG = FinetuneConfig(
    learning_rate=3e-3,
    warmup_steps=2,
    max_epochs=8,
    context=32,
    rows_per_step=2,
    evaluate_every=4,
    patience=100,
    samples_per_evaluation=2,
)
Build = Callable[..., Finetune]


def as_posts(texts: Sequence[str]) -> list[TrainingPost]:
    return [TrainingPost(text) for text in texts]


def never() -> bool:
    return False


def quiet(step: int, metrics: object) -> None:
    """Nobody listens."""


def stop_after(steps: int) -> Callable[[], bool]:
    calls = iter(range(1, 10_000))
    return lambda: next(calls) >= steps


def weights(training: Finetune) -> dict[str, list[float]]:
    return {name: w.flatten().tolist() for name, w in training.model.weights().items()}


@pytest.fixture
def build(tiny_model_folder: Path, tmp_path: Path, posts: list[str]) -> Build:
    def make(workdir: str = "run", config: FinetuneConfig = CONFIG) -> Finetune:
        return Finetune(tiny_model_folder, as_posts(posts[:6]), as_posts(posts[6:]), config, tmp_path / workdir)

    return make


@pytest.fixture
def straight(build: Build) -> Finetune:
    """A training that was never interrupted."""
    training = build("straight")
    training.run(never, quiet)
    return training


def test_it_learns_the_posts_and_keeps_the_best_weights(build: Build, tmp_path: Path, posts: list[str]) -> None:
    training = build(config=replace(CONFIG, max_epochs=15))
    before = CausalLanguageModel.load(str(training.model.network.config._name_or_path)).logprobs(posts[:6])
    report = training.run(never, quiet)
    checksum = training.finish(tmp_path / "best")
    best = CausalLanguageModel.load(str(tmp_path / "best"), checksum=checksum)

    assert sum(map(sum, best.logprobs(posts[:6]))) > sum(map(sum, before)) + 50
    assert report.finished
    assert report.step == report.total_steps == training.total_steps
    assert report.best_heldout_loss is not None
    scores = [value for row in best.logprobs(posts[6:]) for value in row]
    assert -sum(scores) / len(scores) == pytest.approx(report.best_heldout_loss, abs=0.02)


def test_it_reports_every_step_and_evaluation(build: Build) -> None:
    seen: list[tuple[int, tuple[str, ...]]] = []
    drawn: list[tuple[int, int]] = []
    training = build(config=replace(CONFIG, max_epochs=2))
    report = training.run(
        never, lambda s, m: seen.append((s, tuple(sorted(m)))), lambda s, texts: drawn.append((s, len(texts)))
    )
    evaluation = ("heldout_loss", "longest_shared_run", "longest_shared_words", "memorised_rate", "perplexity")
    step = ("gradient_norm", "learning_rate", "loss", "tokens_per_second")
    expected = [(0, evaluation)]
    for number in range(1, training.total_steps + 1):
        expected.append((number, step))
        if number % 4 == 0 or number == training.total_steps:
            expected.append((number, evaluation))

    assert training.total_steps >= 4
    assert seen == expected
    assert drawn == [(s, 2) for s, names in expected if names == evaluation]
    assert len(report.samples) == 2


def test_perplexity_is_the_exponential_of_the_loss(build: Build) -> None:
    metrics: dict[str, float] = {}
    build().run(stop_after(1), lambda step, m: metrics.update(m))

    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["heldout_loss"]), rel=1e-9)


def test_the_learning_rate_warms_up_and_falls_to_its_end(build: Build) -> None:
    rates: list[float] = []
    training = build()
    training.run(never, lambda step, m: rates.append(m["learning_rate"]) if "loss" in m else None)
    total = training.total_steps

    assert rates[:2] == pytest.approx([1.5e-3, 3e-3])
    assert rates[-1] == pytest.approx(3e-3 / (total - 2))
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_slices_give_the_weights_of_one_run(build: Build, straight: Finetune) -> None:
    report: FinetuneReport | None = None
    slices = 0
    while report is None or not report.finished:
        report = build().run(stop_after(3), quiet)
        slices += 1

    assert slices == math.ceil(straight.total_steps / 3)
    assert weights(build()) == weights(straight)
    assert report == straight.report()


def test_a_killed_process_goes_on_to_the_same_weights(
    build: Build, straight: Finetune, tiny_model_folder: Path, tmp_path: Path
) -> None:
    script = """
import os, signal, sys
import torch
from pathlib import Path
from tests.training.engine.test_finetune import CONFIG, as_posts, quiet, stop_after
from tests.training.engine.conftest import POSTS
from training.engine.finetune import Finetune
torch.set_num_threads(1)
training = Finetune(Path(sys.argv[1]), as_posts(POSTS[:6]), as_posts(POSTS[6:]), CONFIG, Path(sys.argv[2]))
training.run(stop_after(5), quiet)
def die(step, metrics):
    if step == 8:
        os.kill(os.getpid(), signal.SIGKILL)
training.run(lambda: False, die)
"""
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tiny_model_folder), str(tmp_path / "run")],
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, "PYTHONPATH": "."},
        check=False,
    )
    resumed = build()
    start = resumed.report().step
    resumed.run(never, quiet)

    assert killed.returncode == -signal.SIGKILL
    assert start == 5
    assert weights(resumed) == weights(straight)
    assert resumed.report() == straight.report()


def test_a_process_killed_while_saving_goes_on_from_the_save_before(
    build: Build, straight: Finetune, monkeypatch: pytest.MonkeyPatch
) -> None:
    build().run(stop_after(5), quiet)
    original = checkpoints.write_text

    def fail(path: Path, text: str) -> str:
        if path.name == checkpoints.MANIFEST:
            raise KeyboardInterrupt
        return original(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_text", fail)
        with pytest.raises(KeyboardInterrupt):
            build().run(stop_after(2), quiet)
    resumed = build()

    assert resumed.report().step == 5
    resumed.run(never, quiet)
    assert weights(resumed) == weights(straight)


def test_a_damaged_checkpoint_costs_only_its_own_slice(build: Build, straight: Finetune, tmp_path: Path) -> None:
    for _ in range(2):
        build().run(stop_after(4), quiet)
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    (newest / checkpoints.TENSORS).write_bytes(b"")
    resumed = build()

    assert resumed.report().step == 4
    resumed.run(never, quiet)
    assert weights(resumed) == weights(straight)


def test_it_says_so_when_no_checkpoint_is_left(build: Build, tmp_path: Path) -> None:
    build().run(stop_after(2), quiet)
    for folder in (tmp_path / "run" / "checkpoints").iterdir():
        (folder / checkpoints.STATE).unlink()

    with pytest.raises(CorruptWeights, match="start this training again"):
        build()


def test_it_saves_now_and_then_within_a_slice(build: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(finetune, "CHECKPOINT_EVERY_S", -1.0)
    steps: list[list[str]] = []
    folder = tmp_path / "run" / "checkpoints"
    build().run(stop_after(3), lambda step, m: steps.append(sorted(p.name for p in folder.glob("*"))))

    assert steps[-1] == ["step-00000001", "step-00000002"]


def test_it_stops_early_and_exports_the_best_step(build: Build, tmp_path: Path) -> None:
    config = replace(CONFIG, learning_rate=0.05, max_epochs=200, evaluate_every=1, patience=3)
    training = build(config=config)
    losses: dict[int, float] = {}
    report = training.run(never, lambda s, m: losses.update({s: m["heldout_loss"]} if "heldout_loss" in m else {}))
    training.finish(tmp_path / "best")
    resumed = build(config=config)
    resumed.finish(tmp_path / "again")

    assert report.finished
    assert report.step == report.best_step + 3 < report.total_steps
    assert "not improved" in report.reason
    assert report.best_heldout_loss == min(losses.values()) == losses[report.best_step]
    # What is exported is the best step's model, also by a process that only read the checkpoint.
    assert CausalLanguageModel.load(str(tmp_path / "best")).weights().keys() == training.model.weights().keys()
    assert (tmp_path / "best" / "model.safetensors").read_bytes() == (
        tmp_path / "again" / "model.safetensors"
    ).read_bytes()
    training._put(CausalLanguageModel.load(str(tmp_path / "best")).weights())
    assert training.heldout_loss() == pytest.approx(losses[report.best_step], abs=1e-6)


def test_a_finished_training_does_nothing_more(build: Build, straight: Finetune) -> None:
    before = weights(straight)
    calls: list[int] = []
    report = build("straight").run(never, lambda step, m: calls.append(step))

    assert (report, calls) == (straight.report(), [])
    assert weights(straight) == before


def test_exporting_does_not_disturb_the_training(build: Build, straight: Finetune, tmp_path: Path) -> None:
    training = build()
    training.run(stop_after(6), quiet)
    training.finish(tmp_path / "early")
    training.run(never, quiet)

    assert weights(training) == weights(straight)


@pytest.mark.parametrize(
    ("train", "heldout"), [([], ["a b"]), (["one post"], ["a b"]), (["a", "b"], []), (["a", " "], ["c"])]
)
def test_too_little_text_is_refused(
    tiny_model_folder: Path, tmp_path: Path, train: list[str], heldout: list[str]
) -> None:
    with pytest.raises(ValueError, match="Add posts to the dataset"):
        Finetune(tiny_model_folder, as_posts(train), as_posts(heldout), CONFIG, tmp_path)


def test_two_posts_are_enough(tiny_model_folder: Path, tmp_path: Path) -> None:
    training = Finetune(tiny_model_folder, as_posts(["the cat", "a dog"]), as_posts(["a bird"]), CONFIG, tmp_path)

    assert training.run(never, quiet).finished


def test_a_folder_of_another_training_is_refused(build: Build) -> None:
    build().run(stop_after(1), quiet)

    with pytest.raises(ValueError, match="folder of its own"):
        build(config=replace(CONFIG, seed=1))


def test_it_says_so_when_the_loss_is_not_a_number(build: Build, tmp_path: Path) -> None:
    training = build()
    training.run(stop_after(2), quiet)
    with torch.no_grad():
        next(iter(training.model.network.parameters()))[0] = math.nan

    with pytest.raises(
        TrainingDiverged, match=r"at step 3\. Start the training again with a learning rate below 0\.003"
    ):
        training.run(never, quiet)
    # The last good checkpoint is untouched.
    assert build().report().step == 2
    assert all(math.isfinite(v) for row in weights(build()).values() for v in row)


def test_dropout_does_not_break_exact_resumption(tiny_model_folder: Path, tmp_path: Path, posts: list[str]) -> None:
    base = Path(shutil.copytree(tiny_model_folder, tmp_path / "dropout"))
    config = (base / "config.json").read_text()
    (base / "config.json").write_text(config.replace('"resid_pdrop": 0.0', '"resid_pdrop": 0.3'))

    def build(name: str) -> Finetune:
        return Finetune(base, as_posts(posts[:6]), as_posts(posts[6:]), CONFIG, tmp_path / name)

    straight, sliced = build("straight"), build("sliced")
    assert straight.model.network.config.resid_pdrop == 0.3
    straight.run(stop_after(8), quiet)
    sliced.run(stop_after(5), quiet)
    torch.rand(17)
    resumed = build("sliced")
    resumed.run(stop_after(3), quiet)

    assert weights(resumed) == weights(straight)


def test_kills_at_random_moments_change_no_bit() -> None:
    """The short version of the benchmark `resume`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_resume", "1"],
        cwd=Path(__file__).resolve().parents[3],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )

    assert '"ours": 1' in done.stdout
    assert done.returncode == 0
