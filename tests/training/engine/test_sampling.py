"""Sampling follows the distribution it is told to, one independent stream per sample."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from training.engine.models.causal import CausalLanguageModel
from training.engine.sampling import scheduler
from training.engine.sampling.filters import Filters, pick
from training.engine.types import SamplingParams

LOGITS = torch.tensor([[math.log(0.5), math.log(0.3), math.log(0.15), math.log(0.05)]])


def tokens_at(uniforms: list[float], params: SamplingParams, logits: torch.Tensor = LOGITS) -> list[int]:
    rows = logits.expand(len(uniforms), -1)
    return pick(rows, torch.tensor(uniforms, dtype=torch.float64), alike(params, len(uniforms)))[0].tolist()


def alike(params: SamplingParams, rows: int) -> Filters:
    return Filters.of([params] * rows, torch.device("cpu"))


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


def test_a_wide_nucleus_is_found_too() -> None:
    # Weights 2000, 1999, …, 1001 sum to 1,500,500; the first 860 are the fewest to reach .9 of it.
    logits = torch.arange(2000.0, 1000.0, -1.0).log()[None]
    assert tokens_at([0.0, 0.999999], SamplingParams(top_p=0.9), logits) == [0, 859]


def test_min_p_keeps_what_is_not_much_less_probable_than_the_best() -> None:
    # .3 of .5 is the border: .15 and more remain, of .95, so the second token ends at .8421.
    assert tokens_at([0.842, 0.843, 0.9999], SamplingParams(min_p=0.3)) == [1, 2, 2]
    assert tokens_at([0.9999], SamplingParams(min_p=1.0)) == [0]


def test_the_repetition_penalty_divides_positive_and_multiplies_negative_scores() -> None:
    # Scores 2, 1, -1 with a penalty of 2 on the first and the last: 1, 1, -2, of which e / (2e + 1/e²) is .4875.
    rows = torch.tensor([[2.0, 1.0, -1.0]])
    uniforms = torch.tensor([0.487], dtype=torch.float64)
    filters = alike(SamplingParams(repetition_penalty=2.0), 1)

    assert pick(rows, uniforms, filters, [[0, 2, 2]])[0].tolist() == [0]
    assert pick(rows, uniforms + 0.001, filters, [[0, 2, 2]])[0].tolist() == [1]
    assert pick(rows, uniforms + 0.48, filters, [[0, 2, 2]])[0].tolist() == [1]
    assert pick(rows, uniforms + 0.489, filters, [[0, 2, 2]])[0].tolist() == [2]


def test_filters_apply_one_after_the_other() -> None:
    # Temperature ½ gives .6849, .2466, .0616, .0068; of the first three top-p .935 leaves two (.9315 of .9932 is .9379,
    # of 1 it would be too little), with the border at .7353; .2466 is .36 of .6849.
    params = SamplingParams(temperature=0.5, top_k=3, top_p=0.935)
    assert tokens_at([0.735, 0.736, 0.9999], params) == [0, 1, 1]
    assert tokens_at([0.9999], replace(params, min_p=0.35)) == [1]
    assert tokens_at([0.9999], replace(params, min_p=0.37)) == [0]


def test_each_row_has_its_own_filters() -> None:
    rows = [
        SamplingParams(),
        SamplingParams(top_k=1),
        SamplingParams(top_p=0.6),
        SamplingParams(min_p=0.2, temperature=0.5),
        SamplingParams(min_p=0.2),
        SamplingParams(repetition_penalty=9.0),
    ]
    filters = Filters.of(rows, torch.device("cpu"))
    uniforms = torch.full((6,), 0.99, dtype=torch.float64)
    together = pick(LOGITS.expand(6, -1), uniforms, filters, [[0]] * 6)[0].tolist()

    alone = [pick(LOGITS, uniforms[:1], alike(each, 1), [[0]])[0].item() for each in rows]
    assert together == alone == [3, 0, 1, 1, 2, 3]


def test_a_filter_that_leaves_only_the_improbable_still_says_how_probable_it_was() -> None:
    logits = torch.tensor([[200.0, 0.0]])
    penalty = alike(SamplingParams(repetition_penalty=1e6), 1)
    tokens, logprobs = pick(logits, torch.tensor([0.9], dtype=torch.float64), penalty, [[0]])

    assert tokens.tolist() == [1]
    assert_close(logprobs, torch.tensor([-200.0]), rtol=0, atol=1e-4)


def test_log_probabilities_are_those_of_the_unmodified_policy() -> None:
    params = SamplingParams(temperature=0.3, top_k=2, top_p=0.9)
    tokens, logprobs = pick(LOGITS, torch.tensor([0.0], dtype=torch.float64), alike(params, 1))

    assert tokens.tolist() == [0]
    assert_close(logprobs, torch.tensor([math.log(0.5)]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize(
    "params", [SamplingParams(), SamplingParams(temperature=0.5, top_k=2, top_p=0.9, min_p=0.1, repetition_penalty=2.0)]
)
def test_a_row_that_is_not_numbers_says_so_and_leaves_the_others_alone(params: SamplingParams, broken: float) -> None:
    rows = LOGITS.repeat(3, 40)
    rows[1, 100] = broken
    uniforms = torch.tensor([0.3, 0.9999, 0.7], dtype=torch.float64)
    tokens, logprobs = pick(rows, uniforms, alike(params, 3), [[1]] * 3)
    kept = [0, 2]
    expected = pick(rows[kept], uniforms[kept], alike(params, 2), [[1]] * 2)

    assert logprobs.isnan().tolist() == [False, True, False]
    assert tokens[kept].tolist() == expected[0].tolist()
    assert_close(logprobs[kept], expected[1], rtol=0, atol=0)


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
    monkeypatch.setattr(scheduler, "MAX_ROWS", 7)

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
            logprobs = model.document_logprobs([document])[0].tolist()
        assert list(sample.token_logprobs) == pytest.approx(logprobs, abs=1e-4)
        assert sample.logprob == pytest.approx(sum(logprobs), abs=1e-3)


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
        SamplingParams(temperature=1e-300),
        SamplingParams(temperature=math.inf),
        SamplingParams(temperature=math.nan),
        SamplingParams(top_p=0),
        SamplingParams(top_k=-1),
        SamplingParams(max_new_tokens=0),
        SamplingParams(min_p=1.1),
        SamplingParams(min_p=-0.1),
        SamplingParams(repetition_penalty=0.9),
        SamplingParams(repetition_penalty=math.nan),
    ],
)
def test_parameters_out_of_range_are_refused(model: CausalLanguageModel, params: SamplingParams) -> None:
    with pytest.raises(ValueError, match="Sampling needs"):
        model.generate([""], params)


def test_no_prompts_no_samples(model: CausalLanguageModel) -> None:
    assert model.generate([], SamplingParams()) == []
