"""Sampling follows the distribution it is told to, one independent stream per sample."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from training.engine import sampling
from training.engine.models.causal import CausalLanguageModel
from training.engine.sampling import pick
from training.engine.types import SamplingParams

LOGITS = torch.tensor([[math.log(0.5), math.log(0.3), math.log(0.15), math.log(0.05)]])


def tokens_at(uniforms: list[float], params: SamplingParams, logits: torch.Tensor = LOGITS) -> list[int]:
    rows = logits.expand(len(uniforms), -1)
    return pick(rows, torch.tensor(uniforms, dtype=torch.float64), params)[0].tolist()


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> CausalLanguageModel:
    loaded = CausalLanguageModel.load(str(tiny_model_folder))
    loaded.compute = torch.float32
    return loaded


def test_a_token_is_the_inverse_of_the_cumulative_distribution() -> None:
    assert tokens_at([0.0, 0.49, 0.51, 0.79, 0.81, 0.94, 0.96, 0.999999], SamplingParams()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_temperature_sharpens() -> None:
    # Squared and normalised: .25, .09, .0225, .0025 of .365, so the first token ends at .6849 and the second at .9315.
    assert tokens_at([0.68, 0.69, 0.93, 0.94], SamplingParams(temperature=0.5)) == [0, 1, 1, 2]


def test_top_k_keeps_the_most_probable() -> None:
    # .5 and .3 remain, of .8: the border lies at .625.
    assert tokens_at([0.62, 0.63, 0.9999], SamplingParams(top_k=2)) == [0, 1, 1]


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    # .5 + .3 is the first sum to reach .6.
    assert tokens_at([0.62, 0.63, 0.9999], SamplingParams(top_p=0.6)) == [0, 1, 1]
    assert tokens_at([0.9999], SamplingParams(top_p=0.4)) == [0]


def test_log_probabilities_are_those_of_the_unmodified_policy() -> None:
    params = SamplingParams(temperature=0.3, top_k=2, top_p=0.9)
    tokens, logprobs = pick(LOGITS, torch.tensor([0.0], dtype=torch.float64), params)

    assert tokens.tolist() == [0]
    assert_close(logprobs, torch.tensor([math.log(0.5)]), rtol=0, atol=1e-6)


def test_frequencies_match_probabilities_beyond_one_block() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(1, 150, generator=generator)
    uniforms = ((np.arange(20_000) + 0.5) / 20_000).tolist()
    counts = torch.bincount(torch.tensor(tokens_at(uniforms, SamplingParams(), logits)), minlength=150)

    assert_close(counts / 20_000, torch.softmax(logits, -1)[0], rtol=0, atol=1.1e-4)


def test_a_token_of_probability_zero_is_never_drawn() -> None:
    logits = torch.full((1, 130), -math.inf)
    logits[0, [3, 70]] = 0.0

    assert tokens_at([0.0, 0.2, 0.4999, 0.5, 0.7, 1 - 1e-16], SamplingParams(), logits) == [3, 3, 3, 70, 70, 70]


def test_a_sample_does_not_depend_on_its_batch(model: CausalLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    params = SamplingParams(max_new_tokens=12, seed=5)
    together = model.generate([""] * 40, params)
    monkeypatch.setattr(sampling, "MAX_BATCH", 7)

    assert [s.text for s in model.generate([""] * 40, params)] == [s.text for s in together]
    assert [s.text for s in model.generate([""] * 3, params)] == [s.text for s in together[:3]]
    assert len({s.text for s in together}) > 30


def test_prompts_of_different_lengths_are_continued_as_if_alone(model: CausalLanguageModel) -> None:
    prompts = ["the cat sat on", "a", "", "rain again, so we stay in"]
    params = SamplingParams(max_new_tokens=10, seed=11)
    together = model.generate(prompts, params)
    # The stream belongs to the place in the list: fill the places before with another prompt.
    alone = [model.generate(["x"] * i + [prompt], params)[i] for i, prompt in enumerate(prompts)]

    assert [s.token_ids for s in together] == [s.token_ids for s in alone]
    assert [s.prompt for s in together] == prompts


def test_dropping_finished_rows_changes_no_other(model: CausalLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = ["", "the cat", "a", "we saw a bird"] * 40
    params = SamplingParams(max_new_tokens=40, seed=3)
    monkeypatch.setattr(sampling, "COMPACT_AT", 1.0)
    never_dropped = model.generate(prompts, params)
    monkeypatch.setattr(sampling, "COMPACT_AT", 0.0)
    dropped_at_once = model.generate(prompts, params)

    assert any(s.ended for s in never_dropped)
    assert [(s.token_ids, s.ended) for s in dropped_at_once] == [(s.token_ids, s.ended) for s in never_dropped]


def test_the_seed_decides(model: CausalLanguageModel) -> None:
    def draw(seed: int) -> list[str]:
        return [s.text for s in model.generate([""] * 4, SamplingParams(max_new_tokens=8, seed=seed))]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_a_sample_ends_at_the_end_token_and_its_log_probability_counts_it(model: CausalLanguageModel) -> None:
    samples = model.generate([""] * 200, SamplingParams(max_new_tokens=40, seed=3))
    ended = [s for s in samples if s.ended]
    cut = [s for s in samples if not s.ended]

    assert ended
    assert cut
    assert all(model.tokenizer.end_id not in s.token_ids for s in samples)
    assert {len(s.token_ids) for s in cut} == {40}
    for sample, end in ((ended[0], [model.tokenizer.end_id]), (cut[0], [])):
        document = [model.tokenizer.end_id, *sample.token_ids, *end]
        with torch.no_grad():
            assert float(model.document_logprobs([document]).sum()) == pytest.approx(sample.logprob, abs=1e-3)


def test_a_sample_stops_at_the_last_position(model: CausalLanguageModel) -> None:
    samples = model.generate([""] * 30, SamplingParams(max_new_tokens=500, seed=3))

    assert max(len(s.token_ids) for s in samples) == model.positions - 1


def test_a_prompt_that_fills_the_model_is_refused(model: CausalLanguageModel) -> None:
    with pytest.raises(ValueError, match="leaves no room"):
        model.generate(["the cat " * 64], SamplingParams())


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=0),
        SamplingParams(top_p=0),
        SamplingParams(top_k=-1),
        SamplingParams(max_new_tokens=0),
    ],
)
def test_parameters_out_of_range_are_refused(model: CausalLanguageModel, params: SamplingParams) -> None:
    with pytest.raises(ValueError, match="Sampling needs"):
        model.generate([""], params)


def test_no_prompts_no_samples(model: CausalLanguageModel) -> None:
    assert model.generate([], SamplingParams()) == []
