"""Posts of 64 tokens on one GPU: our tokens per second over vLLM's, from a Llama of 1.2 B weights at a batch of 32.

Also from GPT-2's shape (124 M), and at batches of 1 and 256. vLLM is measured where KILROY_BENCH_VLLM_PYTHON names the
Python of an environment that has it (`pip install vllm`); where none does, the peer is transformers' `generate` with a
static cache, compiled. Weights are random and in bfloat16: this is about speed alone.

Beside the rates stands their share of what memory allows, batch · bandwidth / bytes of a step, with the bandwidth of
copies within the GPU's memory in the same run, bytes read and written. A step must move at least
2 · (weights + batch · cached · (64 + 1) / 2) bytes: every weight that is multiplied, once for the whole batch, and of
each text the keys and values so far. That assumes that all else is free; see `gpu_limits.step_bytes`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench import gpu_limits
from tests.bench.bench_sampling import make_model, measure
from tests.bench.measurement import Measurement
from tests.bench.sampling_peers import TOKENS

Model = Mapping[str, Any]
"""The kind of a model and its shape, as `make_model` takes them."""

GPT2: Model = {"kind": "gpt2"}
LLAMA: Model = {
    "kind": "llama",
    "num_hidden_layers": 16,
    "hidden_size": 2048,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "vocab_size": 128_256,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
}
BATCHES = (1, 32, 256)
JUDGED = 32
WARM_UPS = 2
"""Calls at each batch before those that count: compiling, choosing kernels, recording graphs."""
GOAL = 1.0
OURS = "ours_exact"


def run() -> Measurement:
    """The table goes to the standard error."""
    if gpu_limits.device() != "cuda":
        return gpu_limits.not_measured(GOAL)
    return compare({"GPT-2, 124 M": GPT2, "Llama, 1.2 B": LLAMA}, BATCHES, JUDGED)


def compare(models: Mapping[str, Model], batches: Sequence[int], judged: int) -> Measurement:
    """All models at all batches; what counts is the last model at a batch of `judged`."""
    import torch

    bandwidth = gpu_limits.bandwidth()
    torch.cuda.empty_cache()
    python = os.environ.get("KILROY_BENCH_VLLM_PYTHON")
    peer = "vllm" if python else "transformers_static"
    print(f"memory: {bandwidth / 1e9:,.0f} GB/s read and written; peer: {peer}", file=sys.stderr)
    ours = others = 0.0
    for title, model in models.items():
        with tempfile.TemporaryDirectory() as folder:
            make_model(Path(folder), dtype="bfloat16", **model)
            torch.cuda.empty_cache()
            best = measure(folder, {OURS: sys.executable, peer: python or sys.executable}, batches, {}, WARM_UPS)
            shape = gpu_limits.shape(Path(folder))
        for batch in batches:
            limit = gpu_limits.most_tokens(shape, batch, TOKENS, bandwidth)
            rates = TOKENS * batch / best[OURS][batch], TOKENS * batch / best[peer][batch]
            print(f"{title}, batch {batch}: {row(*rates, limit)}", file=sys.stderr)
            if batch == judged:
                ours, others = rates
    return Measurement(ours=ours, peer=others, goal=GOAL, better="higher")


def row(ours: float, peer: float, limit: float) -> str:
    """Tokens per second of both, their ratio, and each one's share of what memory allows."""
    return (
        f"{ours:,.0f}/s ({ours / limit:.1%} of {limit:,.0f}/s), peer {peer:,.0f}/s ({peer / limit:.1%}), "
        f"{ours / peer:.2f}x"
    )
