"""Both decoders give the logits of the model itself, whatever joins and leaves."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from training.engine.models.causal import CausalLanguageModel
from training.engine.sampling import decoders, drift, linears
from training.engine.sampling.decoders import StaticDecoder, TransformersDecoder, Weights, is_plain_gpt2
from training.engine.sampling.linears import ReadyProducts, linear
from training.engine.types import SamplingParams, TextRequest

DEMO = Path(__file__).resolve().parents[3] / "training" / "demo" / "posts.csv"


@pytest.fixture
def model(tiny_model_folder: Path) -> CausalLanguageModel:
    loaded = CausalLanguageModel.load(str(tiny_model_folder))
    loaded.compute = torch.float32
    return loaded


def static(model: CausalLanguageModel) -> StaticDecoder:
    return StaticDecoder(Weights(model.network, torch.float32, "exact"))


def read_anew(model: CausalLanguageModel, texts: list[list[int]]) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack([model.network(torch.tensor([text])).logits[0, -1] for text in texts])


@pytest.mark.parametrize("kind", ["static", "transformers"])
def test_logits_are_the_models_own_while_rows_join_and_leave(model: CausalLanguageModel, kind: str) -> None:
    decoder = static(model) if kind == "static" else TransformersDecoder(model.network, model.autocast)
    generator = torch.Generator().manual_seed(0)
    texts = [[0, 5, 6], [0], [0, 9], [0]]
    assert_close(decoder.prefill(texts), read_anew(model, texts), rtol=0, atol=3e-6)
    for step in range(45):
        if step in (3, 20):
            joining = [[0, step, 7, 8], [0, 3]]
            assert_close(decoder.prefill(joining), read_anew(model, joining), rtol=0, atol=3e-6)
            texts += joining
        if step in (2, 5, 30):
            order = decoder.drop({0, 2})
            assert sorted(order) == [row for row in range(len(texts)) if row not in (0, 2)]
            texts = [texts[row] for row in order]
        tokens = torch.randint(1, 300, (len(texts),), generator=generator)
        texts = [[*text, token] for text, token in zip(texts, tokens.tolist(), strict=True)]
        assert_close(decoder.step(tokens), read_anew(model, texts), rtol=0, atol=3e-6)


def test_many_prompts_are_read_in_parts_and_equal_ones_once(
    model: CausalLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "PREFILL_TOKENS", 12)
    read: list[int] = []
    decoder = static(model)
    whole = decoder._prompts
    monkeypatch.setattr(decoder, "_prompts", lambda some, *rest: read.append(len(some)) or whole(some, *rest))
    prompts = [[0, n, *range(n)] for n in (1, 5, 2, 5, 1, 30, 2)]

    assert_close(decoder.prefill(prompts), read_anew(model, prompts), rtol=0, atol=3e-6)
    assert read == [2, 1, 1]
    tokens = torch.arange(7)
    longer = [[*prompt, token] for prompt, token in zip(prompts, range(7), strict=True)]
    assert_close(decoder.step(tokens), read_anew(model, longer), rtol=0, atol=3e-6)


def test_memory_bounds_the_rows(model: CausalLanguageModel) -> None:
    # 2 layers · 2 · 32 numbers of 4 bytes are 512 bytes a token.
    decoder = static(model)
    assert decoder.capacity(64) == StaticDecoder.MEMORY // (512 * 64)
    decoder.MEMORY = 1
    assert decoder.capacity(64) == 1


def test_bfloat16_stays_near_float32(model: CausalLanguageModel) -> None:
    prompts = [[0, 5, 6], [0], [0, 9, 8, 7, 6]]
    exact = static(model).prefill(prompts)
    rounded = StaticDecoder(Weights(model.network, torch.bfloat16, "exact")).prefill(prompts)

    assert float((rounded - exact).std() / exact.std()) < 0.02


@pytest.fixture
def llama(model: CausalLanguageModel) -> CausalLanguageModel:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=model.tokenizer.vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=64, initializer_range=0.2,
    )  # fmt: skip
    return CausalLanguageModel(LlamaForCausalLM(config), model.tokenizer)


def test_other_architectures_are_left_to_transformers(model: CausalLanguageModel, llama: CausalLanguageModel) -> None:
    assert (is_plain_gpt2(model.network), is_plain_gpt2(llama.network)) == (True, False)
    llama.compute = torch.float32
    params = SamplingParams(max_new_tokens=10, seed=3)
    together = llama.generate(["the cat", "", "a dog ran in"], params)
    assert together[0].text == llama.generate(["the cat"], params)[0].text
    document = [model.tokenizer.end_id, *model.tokenizer.encode("a dog ran in"), *together[2].token_ids]
    with torch.no_grad():
        logprobs = llama.document_logprobs([document])[0, -len(together[2].token_ids) :]
    assert list(together[2].token_logprobs[: len(logprobs)]) == pytest.approx(logprobs.tolist(), abs=1e-4)


@pytest.mark.parametrize("compute", [torch.bfloat16, torch.float32])
def test_packed_products_are_those_of_autocast(llama: CausalLanguageModel, compute: torch.dtype) -> None:
    llama.compute = compute
    prompts, plain = [[0, 5, 6], [0], [0, 9, 8, 7, 6]], llama.network.model.layers[0].mlp.up_proj
    packed = TransformersDecoder(llama.network, llama.autocast, ReadyProducts(llama.network, compute))
    usual = TransformersDecoder(llama.network, llama.autocast)
    for at in range(6):
        found, expected = (
            decoder.step(torch.tensor([at, 3, 9])) if at else decoder.prefill(prompts) for decoder in (packed, usual)
        )
        assert_close(found, expected, rtol=0, atol=0 if compute == torch.bfloat16 else 1e-5)
    assert llama.network.model.layers[0].mlp.up_proj is plain


def test_packed_products_are_taken_away_after_a_failure(llama: CausalLanguageModel) -> None:
    products, plain = ReadyProducts(llama.network, torch.float32), llama.network.lm_head

    def fail() -> None:
        with products:
            assert (llama.network.lm_head is plain, llama.network.lm_head.weight is plain.weight) == (False, True)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert llama.network.lm_head is plain


@pytest.mark.parametrize("change", [{"scale_attn_by_inverse_layer_idx": True}, {"activation_function": "silu"}])
def test_unusual_gpt2s_are_left_to_transformers(model: CausalLanguageModel, change: dict[str, object]) -> None:
    model.network.config.update(change)
    assert not is_plain_gpt2(model.network)


def test_adapters_are_left_to_transformers(model: CausalLanguageModel) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True), model.network)
    assert not is_plain_gpt2(model.network)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_step_of_training_is_seen(kind: str, request: pytest.FixtureRequest) -> None:
    model: CausalLanguageModel = request.getfixturevalue("model" if kind == "gpt2" else "llama")
    model.compute = torch.float32
    params = SamplingParams(max_new_tokens=12, seed=1)
    before = model.generate([""] * 4, params)
    kept = model._decoding["exact"]
    model.generate([""], params)
    assert model._decoding["exact"] is kept
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=0.1)
    model.loss(model.pack(["the cat sat"] * 4, 32)).backward()
    optimizer.step()
    after = model.generate([""] * 4, params)

    assert [sample.text for sample in after] != [sample.text for sample in before]
    document = [model.tokenizer.end_id, *after[0].token_ids]
    with torch.no_grad():
        logprobs = model.document_logprobs([document])[0].tolist()
    assert list(after[0].token_logprobs[: len(logprobs)]) == pytest.approx(logprobs, abs=1e-4)


def test_int8_products_are_within_half_a_step_of_each_entry() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(24, 16, generator=generator), torch.randn(24, generator=generator)
    x = torch.randn(5, 16, generator=generator) * torch.tensor([[1.0], [100.0], [1e-3], [0.0], [7.0]])
    found = linear(weight, bias, torch.float32, "fast")(x)
    steps_x, steps_w = x.abs().amax(1, keepdim=True) / 127, weight.abs().amax(1) / 127
    bound = 0.5 * (steps_x * weight.abs().sum(1) + x.abs().sum(1, keepdim=True) * steps_w + 16 * steps_x * steps_w)

    assert bool(((found - (x @ weight.t() + bias)).abs() <= bound + 1e-5).all())
    assert_close(found[3], bias, rtol=0, atol=1e-6)


def test_an_int8_row_is_the_same_in_every_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    product = linear(torch.randn(200, 64, generator=generator), None, torch.float32, "fast")
    x = torch.randn(33, 64, generator=generator)
    x[7] *= 1000

    together = product(x)
    assert all(torch.equal(product(x[row : row + 1])[0], together[row]) for row in range(33))


def test_int8_costs_the_starter_at_most_one_percent_of_perplexity() -> None:
    model = CausalLanguageModel.load("starter")
    with DEMO.open(newline="", encoding="utf-8") as file:
        posts = [row["text"] for row in csv.DictReader(file)][:200]
    documents = [ids[:64] for ids in model.tokenizer.documents(posts)]
    losses = {}
    for precision in ("exact", "fast"):
        decoder = StaticDecoder(Weights(model.network, torch.float32, precision))
        losses[precision] = mean_loss(decoder, documents)
    change = math.exp(losses["fast"] - losses["exact"]) - 1

    assert abs(change) <= 0.01


@pytest.mark.parametrize(("outlier", "bears_int8"), [(1, True), (100, False)])
def test_a_model_that_does_not_bear_int8_drafts_exactly(outlier: int, bears_int8: bool) -> None:
    """One channel of each norm is `outlier` times as large, and its weights that much smaller: the same function."""
    model = CausalLanguageModel.load("starter")
    model.compute = torch.float32
    params = SamplingParams(max_new_tokens=24, seed=4)
    exact = [sample.text for sample in model.generate([""] * 8, params)]
    with torch.no_grad():
        for block in model.network.transformer.h:
            for norm, product in ((block.ln_1, block.attn.c_attn), (block.ln_2, block.mlp.c_fc)):
                norm.weight[5] *= outlier
                norm.bias[5] *= outlier
                product.weight[5] /= outlier
    weights, fast = model._weights("fast"), model.generate([""] * 8, params, precision="fast")

    assert isinstance(weights.layers[0].qkv, linears._Int8 | linears._Fbgemm) == bears_int8
    assert ([sample.text for sample in fast] == exact) == (not bears_int8)


def test_drift_by_hand(model: CausalLanguageModel) -> None:
    end = model.tokenizer.end_id
    assert drift.drift(static(model), static(model), end) == 0.0

    class Even:
        """Believes that each of two tokens comes with the probability it is told."""

        def __init__(self, first: float) -> None:
            self.logits = torch.tensor([[first, 1 - first]]).log().expand(drift.ROWS, -1)

        def prefill(self, prompts: object) -> torch.Tensor:
            return self.logits

        def step(self, tokens: object) -> torch.Tensor:
            return self.logits

    # ½ ln(½ / ¼) + ½ ln(½ / ¾)
    assert drift.drift(Even(0.5), Even(0.25), end) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3), abs=1e-6)  # type: ignore[arg-type]
    assert math.isnan(drift.drift(Even(math.nan), Even(0.25), end))  # type: ignore[arg-type]


def test_a_draft_of_the_starter_is_the_same_in_any_batch() -> None:
    """Bit by bit, with the products of this processor: nothing of a text depends on its company."""
    model, params = CausalLanguageModel.load("starter"), SamplingParams(max_new_tokens=40, seed=3)
    together = model.generate([""] * 48, params, precision="fast")
    sampler, found = model.sampler("fast"), {}
    sampler.add(TextRequest("other", ("The cat is a", "") * 20, SamplingParams(max_new_tokens=30, seed=9)))
    sampler.step()
    sampler.add(TextRequest("same", ("",) * 24, params))
    while sampler.busy:
        found |= {answer.key: answer.samples for answer in sampler.step()}

    assert found["same"] == tuple(together[:24])
    assert model.generate([""], params, precision="fast") == together[:1]


def mean_loss(decoder: StaticDecoder, documents: list[list[int]]) -> float:
    """Nats per token, read token by token as when they are written."""
    logits, live, found = decoder.prefill([ids[:1] for ids in documents]), documents, []
    for at in range(1, 64):
        targets = torch.tensor([ids[at] for ids in live])
        found.append(torch.log_softmax(logits, dim=-1).gather(1, targets[:, None])[:, 0])
        live = [live[row] for row in decoder.drop({row for row, ids in enumerate(live) if len(ids) == at + 1})]
        if not live:
            break
        logits = decoder.step(torch.tensor([ids[at] for ids in live]))
    return -float(torch.cat(found).mean())
