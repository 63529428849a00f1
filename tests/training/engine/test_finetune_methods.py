"""What is trained, and how: LoRA, freezing, optimizers, schedules, accumulation, weights of posts, conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from tests.training.engine.test_finetune import CONFIG, as_posts, never, quiet, stop_after
from training.engine import adapters
from training.engine.epochs import EpochPlan
from training.engine.finetune import Finetune
from training.engine.models.causal import CausalLanguageModel
from training.engine.optimizers import Optimizers, schedule
from training.engine.stepping import accumulate
from training.engine.types import Conditions, FinetuneConfig, TrainingPost

Build = Callable[..., Finetune]
PLAIN = replace(CONFIG, samples_per_evaluation=0)
LORA = replace(PLAIN, method="lora", lora_rank=4, lora_dropout=0.1, learning_rate=1e-2)


@pytest.fixture
def build(tiny_model_folder: Path, tmp_path: Path, posts: list[str]) -> Build:
    def make(config: FinetuneConfig, workdir: str = "run") -> Finetune:
        return Finetune(tiny_model_folder, as_posts(posts[:6]), as_posts(posts[6:]), config, tmp_path / workdir)

    return make


def trained(training: Finetune) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in training.model.network.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("config", [LORA, *(replace(PLAIN, optimizer=o) for o in ("muon", "adafactor", "sgd"))])
def test_every_method_learns_and_resumes_to_the_same_bits(build: Build, config: FinetuneConfig) -> None:
    losses: list[float] = []
    straight = build(config, "straight")
    straight.run(never, lambda step, m: losses.append(m["heldout_loss"]) if "heldout_loss" in m else None)
    build(config).run(stop_after(3), quiet)
    torch.rand(5)
    resumed = build(config)
    assert resumed.report().step == 3
    resumed.run(never, quiet)

    assert losses[-1] < losses[0]
    assert trained(resumed).keys() == trained(straight).keys()
    for name, weight in trained(straight).items():
        assert torch.equal(trained(resumed)[name], weight), name


def test_lora_trains_adapters_alone_and_exports_a_plain_model(build: Build, tmp_path: Path, posts: list[str]) -> None:
    training = build(LORA)
    before = CausalLanguageModel.load(str(training.model.network.config._name_or_path)).weights()
    training.run(never, quiet)
    names = set(trained(training))
    checksum = training.finish(tmp_path / "best")
    exported = CausalLanguageModel.load(str(tmp_path / "best"), checksum=checksum)
    changed = {name for name, weight in exported.weights().items() if not torch.equal(weight, before[name])}

    assert all(".lora_A." in name or ".lora_B." in name for name in names)
    assert exported.weights().keys() == before.keys()
    assert changed == {f"transformer.h.{n}.{m}.weight" for n in (0, 1) for m in (
        "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")}  # fmt: skip
    # The exported model is the one that was measured.
    training._put(training._best)
    scores = [value for row in exported.logprobs(posts[6:]) for value in row]
    assert -sum(scores) / len(scores) == pytest.approx(training.report().best_heldout_loss, abs=0.02)
    assert set(trained(training)) == names  # and the adapters are back in their places


def test_merged_weights_are_w_plus_b_a_times_alpha_over_r(tiny_model_folder: Path) -> None:
    network = CausalLanguageModel.load(str(tiny_model_folder)).network
    original = network.transformer.h[0].attn.c_attn.weight.detach().clone()
    adapters.prepare(network, replace(LORA, lora_targets="transformer.h.0.attn.c_attn", lora_alpha=6.0))
    layer = network.transformer.h[0].attn.c_attn
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    with torch.no_grad():
        b.normal_()
    with adapters.merged(network):
        merged = network.transformer.h[0].attn.c_attn.weight.detach().clone()

    assert a.shape == (4, 32)
    assert_close(merged, original + (b @ a).T * 6.0 / 4, rtol=0, atol=1e-6)  # GPT-2 keeps matrices transposed
    assert network.transformer.h[0].attn.c_attn is layer
    assert torch.equal(layer.base_layer.weight, original)


def test_frozen_weights_stay(build: Build) -> None:
    training = build(replace(PLAIN, frozen="*.wte.*, *.h.0.*"))
    before = {name: p.detach().clone() for name, p in training.model.network.named_parameters()}
    training.run(never, quiet)
    same = {name for name, weight in training.model.weights().items() if torch.equal(weight, before[name])}

    assert same == {name for name in before if ".wte." in name or ".h.0." in name}
    assert 0 < len(same) < len(before)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frozen": "*.nothing.*"}, "No weight of this model matches the frozen pattern “\\*.nothing.\\*”"),
        ({"frozen": "*"}, "Every weight is frozen"),
        ({"method": "lora", "lora_targets": "query"}, "No linear layer of this model matches the LoRA target “query”"),
    ],
)
def test_patterns_that_cannot_be_meant_are_refused(build: Build, changes: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build(replace(PLAIN, **changes))


def test_muon_is_for_hidden_matrices_alone(tiny_model_folder: Path) -> None:
    network = CausalLanguageModel.load(str(tiny_model_folder)).network
    muon, adamw = Optimizers(network, replace(PLAIN, optimizer="muon"))._optimizers
    names = {id(p): name for name, p in network.named_parameters()}
    hidden = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    rest = {names[id(p)] for group in adamw.param_groups for p in group["params"]}

    assert hidden == {n for n in names.values() if ".h." in n and n.endswith(".weight") and "ln_" not in n}
    assert hidden | rest == set(names.values())
    assert not hidden & rest


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("linear", [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ("cosine", [0.5, 1.0, 1.0, 0.9619, 0.8536, 0.6913, 0.5, 0.3087, 0.1464, 0.0381]),
        ("constant", [0.5] + [1.0] * 9),
        ("trapezoid", [0.5] + [1.0] * 7 + [2 / 3, 1 / 3]),
    ],
)
def test_schedules_by_hand(name: str, shares: list[float]) -> None:
    config = FinetuneConfig(schedule=name, warmup_steps=2)

    assert [schedule(config, step, 10) for step in range(10)] == pytest.approx(shares, abs=1e-4)


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_parts_of_a_step_add_up_to_its_gradient(tiny_model_folder: Path, posts: list[str], at_once: int) -> None:
    model = CausalLanguageModel.load(str(tiny_model_folder))
    model.compute = torch.float32
    rows = model.pack([*posts, "the", "a cat"], context=24)  # rows with different numbers of scored tokens
    whole = model.loss(rows)
    whole.backward()
    expected = {name: p.grad.clone() for name, p in model.network.named_parameters()}
    model.network.zero_grad()
    loss = accumulate(model, rows, rows.scored_tokens, at_once)

    assert len({int((t != -100).sum()) for t in rows.targets}) > 1
    assert loss == pytest.approx(whole.item(), abs=1e-5)
    for name, parameter in model.network.named_parameters():
        assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)


def test_computing_activations_twice_changes_nothing(build: Build) -> None:
    plain, saving = build(PLAIN, "plain"), build(replace(PLAIN, checkpoint_activations=True), "saving")
    plain.run(stop_after(3), quiet)
    saving.run(stop_after(3), quiet)

    assert saving.model.network.is_activation_checkpointing
    for name, weight in trained(plain).items():
        assert_close(trained(saving)[name], weight, rtol=0, atol=1e-6)


def shown(plan: EpochPlan, epoch: int) -> list[int]:
    return sorted(n for at in range(plan.steps) for row in plan.rows(epoch * plan.steps + at) for n in row)


def test_a_post_of_weight_two_is_in_an_epoch_twice() -> None:
    plan = EpochPlan([5] * 4, [1, 2, 1, 3], width=10, rows_per_step=2, seed=0)

    assert shown(plan, 0) == shown(plan, 1) == [0, 1, 1, 2, 3, 3, 3]
    assert plan.steps == 2


def test_a_fraction_is_drawn_anew_for_each_epoch() -> None:
    plan = EpochPlan([1] * 400, [0.25] * 200 + [1.5] * 200, width=8, rows_per_step=4, seed=1)
    first, second = shown(plan, 0), shown(plan, 1)

    assert first != second
    assert sum(n < 200 for n in first) == pytest.approx(50, abs=20)
    assert sum(n >= 200 for n in first) == pytest.approx(300, abs=20)
    assert shown(EpochPlan([1] * 400, [0.25] * 200 + [1.5] * 200, width=8, rows_per_step=4, seed=1), 1) == second


def test_rows_are_dealt_evenly_to_steps() -> None:
    plan = EpochPlan([8] * 10, [1.0] * 10, width=8, rows_per_step=4, seed=0)

    assert [len(plan.rows(step)) for step in range(3)] == [3, 3, 4]


def test_tiny_weights_still_show_something() -> None:
    plan = EpochPlan([4, 4], [1e-9, 1e-9], width=8, rows_per_step=1, seed=0)

    assert shown(plan, 0) == [0, 1]


def test_conditions_are_read_and_not_learned(tiny_model_folder: Path, tmp_path: Path, posts: list[str]) -> None:
    given = [TrainingPost(text, conditions=Conditions(author="ann")) for text in posts]
    config = replace(PLAIN, conditions="author", condition_dropout=0.0)
    training = Finetune(tiny_model_folder, given[:6], given[6:], config, tmp_path / "run")
    bare = Finetune(tiny_model_folder, as_posts(posts[:6]), as_posts(posts[6:]), PLAIN, tmp_path / "bare")
    numbers = [[number] for number in range(6)]

    assert training._batches.tensors(numbers).scored_tokens == bare._batches.tensors(numbers).scored_tokens
    assert training._batches.width >= bare._batches.width
    assert training.run(never, quiet).finished
