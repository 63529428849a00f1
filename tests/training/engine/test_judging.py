"""Log-probabilities of single tokens against softmax by hand, and what the critics make of any text."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.engine import writers
from training.engine import judging, rounds
from training.engine.critics import discriminator
from training.engine.models.causal import CausalLanguageModel
from training.engine.online_reward_model import believe
from training.engine.round_types import OnlineConfig, RoundInput, ScoredPost
from training.engine.types import Conditions, RatedPost, SamplingParams


@pytest.fixture(scope="module")
def reader():
    return CausalLanguageModel.load(str(writers.writer_folder()))


def by_hand(model: CausalLanguageModel, start: list[int], drawn: list[int]) -> list[float]:
    """ln softmax(logits)[token] of each drawn token, a step at a time, in float64."""
    found = []
    for at, token in enumerate(drawn):
        ids = torch.tensor([[*start, *drawn[:at]]])
        with torch.no_grad(), model.autocast():
            logits = model.network(ids).logits[0, -1].double().cpu().numpy()
        found.append(float(logits[token] - logits.max() - np.log(np.exp(logits - logits.max()).sum())))
    return found


def test_a_tokens_log_probability_is_that_of_the_softmax(tiny_model_folder: Path) -> None:
    """However the texts were drawn: it is the model's own probability, at temperature 1 and without filters."""
    model = CausalLanguageModel.load(str(tiny_model_folder))
    sampler = model.sampler("exact")
    params = SamplingParams(temperature=0.7, top_k=20, repetition_penalty=1.2, max_new_tokens=12, seed=11)
    samples = model.generate(["the cat", "", "a dog"], params)
    end = model.tokenizer.end_id
    for sample, prompt in zip(samples, ("the cat", "", "a dog"), strict=True):
        drawn = [*sample.token_ids, *([end] if sample.ended else [])]
        expected = by_hand(model, [end, *model.tokenizer.encode(prompt)], drawn)
        close = 0.03 if model.compute == torch.bfloat16 else 1e-4
        np.testing.assert_allclose(sample.token_logprobs, expected, atol=close)
        assert sum(sample.token_logprobs) == pytest.approx(sample.logprob, abs=1e-9)
        assert "".join(sampler.pieces(sample)) == sample.text


def told(folder: Path, work: Path, algorithm: str = "reward_model_rloo") -> RoundInput:
    """A round of a bot whose audience likes fruit."""
    texts = writers.invented_posts(40, seed=2)
    scored = tuple(
        ScoredPost(f"p{at}", text, "learning", 2.0 * writers.likes_fruit(text), 10, at) for at, text in enumerate(texts)
    )
    config = OnlineConfig(algorithm=algorithm)
    return RoundInput(0, folder, folder, work, (), scored, (), 0, 0, config, seed=1)


def test_rewards_are_foretold_as_a_round_would(reader: CausalLanguageModel, tmp_path: Path) -> None:
    given = told(writers.writer_folder(), tmp_path)
    texts = writers.invented_posts(6, seed=9)
    found = judging.judge(reader, tmp_path, texts, given)
    bench = rounds.bench(given)
    means, deviations = believe(given, bench).posterior.predict(bench.columns(texts))
    assert [each["predicted"] for each in found] == [float(mean) for mean in means]
    assert [each["predicted_sd"] for each in found] == [float(sd) for sd in deviations]
    assert all("realism" not in each for each in found)
    liked = [writers.likes_fruit(text) for text in texts]
    assert np.corrcoef(means, liked)[0, 1] > 0.3


def test_plain_algorithms_foretell_nothing(reader: CausalLanguageModel, tmp_path: Path) -> None:
    given = told(writers.writer_folder(), tmp_path, "reinforce")
    assert judging.judge(reader, tmp_path, ["apple bread"], given) == [{}]


def test_the_discriminator_of_the_lineage_judges(reader: CausalLanguageModel, tmp_path: Path) -> None:
    folder = tmp_path / "origin"
    shutil.copytree(writers.writer_folder(), folder)
    strange = [
        RatedPost(f"{text}!!! 123", Conditions(f"author {n}")) for n, text in enumerate(writers.invented_posts(160, 5))
    ]
    fitted, figures = discriminator.train(reader, strange, 1.0, 24, seed=1)
    assert fitted is not None
    fitted.save(folder / discriminator.FILE, figures)
    plain, real = judging.judge(reader, folder, ["apple cloud dance", "apple cloud dance!!! 123"], None)
    assert plain["realism"] < 0.3 < 0.7 < real["realism"]
    assert plain.keys() == {"realism"}
