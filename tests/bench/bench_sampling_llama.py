"""Posts of 64 tokens from a Llama of 135 M weights (SmolLM's shape) on two cores: our tokens per second over those of
transformers in bfloat16, at a batch of 32; at least as many.

Models other than GPT-2 run in transformers' own forward pass; what is Kilroy's are the products, packed ahead, the
running batch, and the drawing. Weights are random: this is about speed alone. Engines take turns, the best counts.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.bench.bench_sampling import BATCHES, make_model, measure, row
from tests.bench.measurement import Measurement
from tests.bench.sampling_peers import TOKENS

OURS, PEER = "ours_exact", "transformers_bf16"
ENGINES = (OURS, PEER, "transformers_fp32")
SHAPE = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}
GOAL = 1.0


def run() -> Measurement:
    """The table goes to the standard error."""
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder), kind="llama", **SHAPE)
        best = measure(folder, dict.fromkeys(ENGINES, sys.executable), BATCHES, {"CUDA_VISIBLE_DEVICES": ""})
    for name in ENGINES:
        print(f"{name:18} {row(best[name], best['transformers_fp32'])}", file=sys.stderr)
    ours, peer = (TOKENS * 32 / best[name][32] for name in (OURS, PEER))
    return Measurement(ours=ours, peer=peer, goal=GOAL, better="higher")
