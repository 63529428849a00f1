"""Characters are shown whole, and no text is longer than it may be, as the platform counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.engine.models.causal import CausalLanguageModel
from training.engine.sampling import texts
from training.engine.tokenizer import PostTokenizer, train_tokenizer
from training.engine.types import LengthLimit, Prompt, SamplingParams

EMOJI = "né 🙂 👩‍🚀!"


@pytest.fixture(scope="module")
def tokenizer() -> PostTokenizer:
    return train_tokenizer(["plain words alone"], vocab_size=257)  # bytes: an emoji is four tokens


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> CausalLanguageModel:
    loaded = CausalLanguageModel.load(str(tiny_model_folder))
    loaded.compute = torch.float32
    return loaded


def test_an_unfinished_character_is_not_shown(tokenizer: PostTokenizer) -> None:
    ids = tokenizer.encode(EMOJI)
    shown = [texts.whole(tokenizer, ids[:count]) for count in range(len(ids) + 1)]

    assert shown[-1] == EMOJI
    assert all(EMOJI.startswith(text) for text in shown)
    assert shown[4:9] == ["né ", "né ", "né ", "né ", "né 🙂"]


def test_pieces_make_the_text(tokenizer: PostTokenizer) -> None:
    ids = tokenizer.encode("é🙂x")

    assert texts.pieces(tokenizer, ids, "é🙂x") == ["", "é", "", "", "", "🙂", "x"]
    assert texts.pieces(tokenizer, ids[:4], "é") == ["", "é", "", ""]
    broken = [ids[2], ids[6]]  # the first byte of an emoji, then a letter: shown as what it is
    assert texts.pieces(tokenizer, broken, tokenizer.decode(broken)) == ["", "\ufffdx"]


def test_the_longest_beginning_is_found_by_the_limits_own_count(tokenizer: PostTokenizer) -> None:
    ids = tokenizer.encode("ab🙂cd")
    weighted = LengthLimit(5, count=lambda text: sum(2 if ord(c) > 0xFFFF else 1 for c in text))

    assert texts.longest_within(tokenizer, "", ids, weighted) == 7  # ab🙂c
    assert texts.longest_within(tokenizer, "x", ids, weighted) == 6
    assert texts.longest_within(tokenizer, "xx", ids, weighted) == 2  # no half of an emoji
    assert texts.longest_within(tokenizer, "xxxxx", ids, weighted) == 0


@pytest.mark.parametrize("prefix", ["", "the cat "])
def test_no_text_exceeds_its_limit(model: CausalLanguageModel, prefix: str) -> None:
    def count(text: str) -> int:
        return 2 * len(text)

    params = SamplingParams(max_new_tokens=40, seed=3)
    free = model.generate([Prompt(prefix)] * 60, params)
    held = model.generate([Prompt(prefix)] * 60, params, LengthLimit(60, count))

    assert any(len(prefix + sample.text) > 30 for sample in free)
    for before, after in zip(free, held, strict=True):
        assert count(prefix + after.text) <= 60
        if count(prefix + before.text) <= 60:
            assert after == before
        else:
            assert not after.ended
            assert before.text.startswith(after.text)
            assert before.token_ids[: len(after.token_ids)] == after.token_ids
            assert len(after.token_logprobs) == len(after.token_ids)
            assert sum(after.token_logprobs) == pytest.approx(after.logprob)


def test_a_limit_saves_the_steps_that_could_not_be_used(
    model: CausalLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = model.sampler("exact")
    steps: list[int] = []
    step = sampler._decoder.step
    monkeypatch.setattr(sampler._decoder, "step", lambda tokens: steps.append(1) or step(tokens))
    monkeypatch.setattr(model, "sampler", lambda precision: sampler)
    model.generate([""], SamplingParams(max_new_tokens=60, seed=3), LengthLimit(3))

    assert len(steps) < 16


def test_a_stream_never_shows_more_than_the_limit_allows(model: CausalLanguageModel) -> None:
    shown = [""] * 20
    for index, new in model.stream([""] * 20, SamplingParams(max_new_tokens=40, seed=3), LengthLimit(12)):
        shown[index] += new
        assert len(shown[index]) <= 12


def test_words_to_begin_with_that_are_too_long_are_refused(model: CausalLanguageModel) -> None:
    with pytest.raises(ValueError, match="longer than the text may be"):
        model.generate(["the cat sat"], SamplingParams(), LengthLimit(5))
