"""A tiny language model made on the spot: random weights, two layers, its own byte-level tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

POSTS = [
    "the cat sat on the mat",
    "a dog ran in the park today",
    "my new bike is red and fast",
    "the best bread comes from a hot oven",
    "we saw a bird on the old tree",
    "rain again, so we stay in and read",
    "how do you keep a plant alive?",
    "the train was late but the view was good",
]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def posts() -> list[str]:
    """Eight short posts, all different."""
    return list(POSTS)


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete model folder; treat it as read-only."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from training.engine.models.causal import CausalLanguageModel
    from training.engine.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(POSTS * 4, vocab_size=320)
    config = GPT2Config(
        vocab_size=tokenizer.vocab_size,
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=64,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.end_id,
        eos_token_id=tokenizer.end_id,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny") / "model"
    CausalLanguageModel(GPT2LMHeadModel(config), tokenizer).save(folder)
    return folder
