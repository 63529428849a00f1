"""Requests of many owners share a batch: nobody waits for a stranger's long text, and no text depends on company."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from training.engine.errors import EngineError
from training.engine.models import causal
from training.engine.models.causal import CausalLanguageModel
from training.engine.sampling import decoders, scheduler
from training.engine.sampling.scheduler import Scheduler
from training.engine.types import Answer, Precision, Prompt, Sample, SamplingParams, TextRequest

LONG = SamplingParams(max_new_tokens=60, seed=1, temperature=0.1)
SHORT = SamplingParams(max_new_tokens=3, seed=2)


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> CausalLanguageModel:
    loaded = CausalLanguageModel.load(str(tiny_model_folder))
    loaded.compute = torch.float32
    return loaded


def finish(sampler: Scheduler) -> dict[str, tuple[Sample, ...]]:
    answers: list[Answer] = []
    while sampler.busy:
        answers += sampler.step()
    assert len({answer.key for answer in answers}) == len(answers)
    return {answer.key: answer.samples for answer in answers}


def test_mixed_requests_get_the_texts_they_would_get_alone(model: CausalLanguageModel) -> None:
    requests = [
        TextRequest("plain", ("", "", "the cat"), SamplingParams(max_new_tokens=30, seed=3)),
        TextRequest("cold", ("a dog",) * 2, SamplingParams(max_new_tokens=20, seed=4, temperature=0.5, top_k=9)),
        TextRequest("nucleus", (Prompt("rain"),), SamplingParams(max_new_tokens=40, seed=5, top_p=0.7, min_p=0.01)),
        TextRequest("varied", ("how do",) * 3, SamplingParams(max_new_tokens=40, seed=6, repetition_penalty=1.5)),
    ]
    sampler = model.sampler("exact")
    sampler.add(requests[0])
    answers: dict[str, tuple[Sample, ...]] = {}
    for request in requests[1:]:  # each joins while others are being written
        for _ in range(4):
            answers |= {answer.key: answer.samples for answer in sampler.step()}
        sampler.add(request)
    answers |= finish(sampler)

    assert answers.keys() == {"plain", "cold", "nucleus", "varied"}
    for request in requests:
        alone = model.generate(request.prompts, request.params)
        assert [(s.text, s.token_ids, s.ended) for s in answers[request.key]] == [
            (s.text, s.token_ids, s.ended) for s in alone
        ]


def test_who_comes_late_does_not_wait_for_early_long_texts(model: CausalLanguageModel) -> None:
    sampler = model.sampler("exact")
    sampler.add(TextRequest("long", ("",) * 4, LONG))
    for _ in range(5):
        assert sampler.step() == []
    sampler.add(TextRequest("late", ("",) * 2, SHORT))
    answered = [answer.key for _ in range(3) for answer in sampler.step()]

    assert "late" in answered
    assert sampler.busy
    assert max(len(sample.token_ids) for sample in finish(sampler)["long"]) > 8


def test_free_rows_go_to_each_owner_in_turn(model: CausalLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "MAX_ROWS", 4)
    one = SamplingParams(max_new_tokens=1)
    sampler = model.sampler("exact")
    sampler.add(TextRequest("many", ("",) * 12, one, owner="busy"))
    sampler.add(TextRequest("few", ("",) * 2, one, owner="quiet"))
    sampler.add(TextRequest("one", ("",), one, owner="other"))
    steps = []
    while sampler.busy:
        steps.append([answer.key for answer in sampler.step()])

    # Rows by step: busy, quiet, other, busy; quiet, busy × 3; busy × 4; busy × 4.
    assert steps == [["one"], ["few"], [], ["many"]]


def test_rows_wait_for_memory(model: CausalLanguageModel) -> None:
    sampler = model.sampler("exact")
    sampler._decoder.capacity = lambda length: 2 if length > 10 else 100  # type: ignore[method-assign]
    sampler.add(TextRequest("wide", ("",) * 5, SamplingParams(max_new_tokens=4, seed=1)))
    sampler.step()
    assert len(sampler._live) <= 5
    sampler.add(TextRequest("deep", ("",) * 3, SamplingParams(max_new_tokens=50, seed=1)))
    while sampler.busy:
        sampler.step()
        deep = [row for row in sampler._live if row.request.asked.key == "deep"]
        assert not deep or len(sampler._live) <= 2


def test_a_request_that_cannot_be_taken_leaves_the_others_alone(model: CausalLanguageModel) -> None:
    sampler = model.sampler("exact")
    sampler.add(TextRequest("good", ("",), SHORT))
    for bad, words in [
        (TextRequest("bad", ("", "the cat " * 64), SHORT), "leaves no room"),
        (TextRequest("good", ("",), SHORT), "already"),
        (TextRequest("bad", ("",), SamplingParams(temperature=0)), "Sampling needs"),
    ]:
        with pytest.raises(ValueError, match=words):
            sampler.add(bad)

    assert finish(sampler)["good"][0].text == model.generate([""], SHORT)[0].text


def poison(model: CausalLanguageModel, monkeypatch: pytest.MonkeyPatch, word: str, value: float) -> None:
    """Whatever reads the word's first token gets logits that are no numbers."""
    token = model.tokenizer.encode(word)[0]
    table = model.network.transformer.wte.weight.detach().clone()
    plain = decoders.Weights

    class Poisoned(plain):  # type: ignore[misc, valid-type]
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            self.tokens = table.clone()
            self.tokens[token] = value

    monkeypatch.setattr(causal, "Weights", Poisoned)
    monkeypatch.setattr(model, "_decoding", {})


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_request_without_numbers_ends_alone(
    model: CausalLanguageModel, monkeypatch: pytest.MonkeyPatch, precision: Precision, value: float
) -> None:
    monkeypatch.setattr(scheduler, "MAX_ROWS", 6)  # so that others come to lie where its rows lay
    params = SamplingParams(max_new_tokens=20, seed=3, top_k=5, min_p=0.01)
    requests = [
        TextRequest("before", ("a", "rain", "a"), params, owner="one"),
        TextRequest("bad", ("a", "z", *("a",) * 9), params, owner="two"),
        TextRequest("after", ("rain", "a dog", "we", "how") * 2, params, owner="three"),
    ]
    alone = {each.key: [s.text for s in model.generate(each.prompts, params, None, precision)] for each in requests}
    poison(model, monkeypatch, "z", value)
    sampler = model.sampler(precision)
    for request in requests:
        sampler.add(request)
    answers: list[Answer] = []
    while sampler.busy:
        answers += sampler.step()

    found = {answer.key: answer for answer in answers}
    assert (len(answers), found["bad"]) == (3, Answer("bad", (), scheduler.NO_NUMBERS))
    drawn = {key: [sample.text for sample in answer.samples] for key, answer in found.items() if key != "bad"}
    assert drawn == {key: alone[key] for key in ("before", "after")}


def test_a_model_without_numbers_says_so(model: CausalLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(model, monkeypatch, "z", math.nan)
    assert len(model.generate(["a"], SHORT)) == 1
    with pytest.raises(EngineError, match=r"no numbers to draw from.* Choose another model version"):
        model.generate(["a", "z"], SHORT)
    with pytest.raises(EngineError, match="no numbers to draw from"):
        list(model.stream(["z"], SHORT))


def test_the_repetition_penalty_covers_the_prompt_and_never_the_end(
    model: CausalLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, other = model.tokenizer.encode("the cat"), model.tokenizer.encode("dog")[0]
    scores = torch.full((1, model.tokenizer.vocab_size), -50.0)
    scores[0, said], scores[0, other], scores[0, model.tokenizer.end_id] = 10.0, 5.0, 4.0
    sampler = model.sampler("exact")
    monkeypatch.setattr(sampler._decoder, "prefill", lambda prompts: scores)
    monkeypatch.setattr(sampler._decoder, "step", lambda tokens: scores)
    monkeypatch.setattr(sampler._decoder, "drop", lambda rows: [])
    params = SamplingParams(temperature=0.01, repetition_penalty=1e9)
    sampler.add(TextRequest("one", ("the cat",), params))
    [sample] = finish(sampler)["one"]

    assert (sample.token_ids, sample.ended) == ((other,), True)


def test_texts_grow_until_the_answer(model: CausalLanguageModel) -> None:
    sampler = model.sampler("exact")
    sampler.add(TextRequest("one", ("the ", ""), SamplingParams(max_new_tokens=30, seed=7)))
    seen = [sampler.texts("one")]
    answers: list[Answer] = []
    while sampler.busy:
        answers += sampler.step()
        if sampler.busy:
            seen.append(sampler.texts("one"))
    final = [sample.text for sample in answers[0].samples]

    assert seen[0] == ["", ""]
    assert len(seen) > 10
    for before, after in zip(seen, [*seen[1:], final], strict=True):
        assert all(new.startswith(old) for old, new in zip(before, after, strict=True))


def test_a_stream_adds_up_to_the_text(model: CausalLanguageModel) -> None:
    prompts, params = ["", "the cat", "a"], SamplingParams(max_new_tokens=30, seed=9)
    shown = ["", "", ""]
    events = list(model.stream(prompts, params))
    for index, new in events:
        assert new
        shown[index] += new

    assert shown == [sample.text for sample in model.generate(prompts, params)]
    assert len(events) > 20
    assert list(model.stream([], params)) == []
