"""Whatever the architecture, a post learns from itself alone."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoConfig, AutoModelForCausalLM

from tests.training.engine.conftest import POSTS
from tests.training.engine.test_finetune import CONFIG, as_posts, never, quiet, stop_after, weights
from training.engine.batches import ALONE_IN_ROWS, Batches
from training.engine.finetune import Finetune
from training.engine.models.causal import CausalLanguageModel
from training.engine.packing import keeps_apart
from training.engine.tokenizer import PostTokenizer, train_tokenizer
from training.model_config import MODEL_TYPES

SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": 64,
}  # fmt: skip
OTHERWISE: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "opt": {key: SIZES[key] for key in SIZES if "key_value" not in key and "inter" not in key}
    | {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
    "qwen3": SIZES | {"head_dim": 16},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
}
MIXING = {"opt", "bloom", "falcon"}
"""Transformers makes no mask of the positions for these."""


@cache
def _tokenizer() -> PostTokenizer:
    return train_tokenizer(POSTS * 4, vocab_size=320)


@cache
def _model(kind: str) -> CausalLanguageModel:
    end = _tokenizer().end_id
    config = AutoConfig.for_model(
        kind, vocab_size=_tokenizer().vocab_size, pad_token_id=end, bos_token_id=end, eos_token_id=end,
        **OTHERWISE.get(kind, SIZES),
    )  # fmt: skip
    torch.manual_seed(0)
    model = CausalLanguageModel(AutoModelForCausalLM.from_config(config), _tokenizer())
    model.compute = torch.float32
    return model


@pytest.mark.parametrize("kind", sorted(MODEL_TYPES | {"falcon"}))
@torch.no_grad()
def test_a_post_in_its_row_is_computed_as_if_it_were_alone(kind: str) -> None:
    model = _model(kind)
    batches = Batches(model, as_posts(POSTS[:6]), {"time": as_posts(POSTS[6:])}, CONFIG)
    rows = [*batches.step(0, lambda number: False), *batches.heldout("time", lambda number: False)[0]]
    packed = model.hidden(batches.tensors(rows)).view(len(rows), batches.width, -1)

    assert keeps_apart(model) is (kind not in MIXING)
    assert (max(map(len, rows)) == 1) is (kind in MIXING)
    assert batches.notes == ((ALONE_IN_ROWS,) if kind in MIXING else ())
    for at, row in enumerate(rows):
        start = 0
        for number in row:
            alone = model.hidden(batches.alone(number))
            assert_close(packed[at, start : start + len(alone)], alone, rtol=0, atol=1e-4)
            start += len(alone)


def test_a_model_that_would_mix_posts_learns_each_alone_says_so_and_resumes(tmp_path: Path) -> None:
    _model("opt").save(tmp_path / "opt")

    def build(name: str) -> Finetune:
        return Finetune(tmp_path / "opt", as_posts(POSTS[:6]), as_posts(POSTS[6:]), CONFIG, tmp_path / name)

    straight = build("straight")
    report = straight.run(never, quiet)
    build("sliced").run(stop_after(5), quiet)
    resumed = build("sliced")
    resumed.run(never, quiet)

    assert report.finished
    assert report.notes == (ALONE_IN_ROWS,)
    assert resumed.report() == report
    assert weights(resumed) == weights(straight)
