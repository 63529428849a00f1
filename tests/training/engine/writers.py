"""A small model that has really learned to write: posts of five to seven of forty words, in any order."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import torch

from training.engine.models.causal import CausalLanguageModel
from training.engine.round_types import OnlineConfig, RoundInput
from training.engine.tokenizer import train_tokenizer
from training.engine.types import HistoricPost

WORDS = [
    "apple", "bread", "cloud", "dance", "eagle", "field", "grape", "house", "island", "jacket", "kettle", "lemon",
    "music", "night", "ocean", "paper", "queen", "river", "stone", "table", "uncle", "valley", "window", "yellow",
    "zebra", "anchor", "basket", "candle", "dragon", "engine", "forest", "garden", "hammer", "insect", "jungle",
    "kitten", "ladder", "market", "needle", "orange",
]  # fmt: skip
CONFIG = OnlineConfig(
    posts_per_round=8, candidates_per_post=6, samples_per_step=8, max_new_tokens=24, learning_rate=1e-3
)


def invented_posts(count: int, seed: int) -> list[str]:
    """Posts of the kind the writer has learned."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(5, 7))) for _ in range(count)]


@cache
def writer_folder() -> Path:
    """The writer's model folder, trained once per process; treat it as read-only."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    texts = invented_posts(400, seed=1)
    tokenizer = train_tokenizer(texts, vocab_size=380)
    config = GPT2Config(
        vocab_size=tokenizer.vocab_size, n_embd=32, n_layer=2, n_head=2, n_positions=64, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=tokenizer.end_id, eos_token_id=tokenizer.end_id,
    )  # fmt: skip
    model = CausalLanguageModel(GPT2LMHeadModel(config), tokenizer)
    optimizer = torch.optim.Adam(model.network.parameters(), lr=1e-2)
    for step in range(150):
        optimizer.zero_grad()
        model.loss(model.pack(texts[step % 10 * 40 : step % 10 * 40 + 40], 64)).backward()
        optimizer.step()
    folder = Path(mkdtemp(prefix="kilroy-writer-"))
    model.save(folder)
    return folder


def likes_fruit(text: str) -> float:
    """The audience of these tests: it likes three words and nothing else."""
    return sum(text.count(word) for word in ("apple", "grape", "lemon"))


def history(count: int = 160) -> tuple[HistoricPost, ...]:
    """Past posts of somebody else with the audience's opinion of them."""
    return tuple(HistoricPost(text, likes_fruit(text)) for text in invented_posts(count, seed=2))


def round_input(workdir: Path, **changes: object) -> RoundInput:
    """A first round of eight posts, one of them from the baseline, unless `changes` say otherwise."""
    values: dict[str, object] = {
        "number": 0,
        "policy": writer_folder(),
        "reference": writer_folder(),
        "workdir": workdir,
        "history": history(),
        "scored": (),
        "published_texts": (),
        "learning_posts": 7,
        "baseline_posts": 1,
        "config": CONFIG,
        "seed": 1,
    }
    return RoundInput(**{**values, **changes})  # type: ignore[arg-type]
