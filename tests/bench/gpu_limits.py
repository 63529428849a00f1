"""What a model costs at least, and what a GPU can do at most: the arithmetic of the benchmarks on a GPU.

Everything is per second, byte and floating-point operation (a multiplication and an addition count as two). On a
machine without a GPU the measuring functions take the processor: that is for trying them.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.measurement import Measurement

if TYPE_CHECKING:
    from training.engine.packing import PackedRows

NO_GPU = "There is no GPU here: nothing was measured."
PEAK_VARIABLE = "KILROY_BENCH_PEAK_TFLOPS"
PEAKS = {
    r"NVIDIA H200": 989e12,
    r"NVIDIA H100 80GB HBM3": 989e12,
    r"NVIDIA A100-(SXM4|PCIE)-\d+GB": 312e12,
    r"NVIDIA L40S": 362e12,
    r"NVIDIA GeForce RTX 4090": 165e12,
}
"""Dense bfloat16 products with float32 sums, by the makers' data sheets. Other variants of these cards do less."""

BYTES = 2
"""Of a number in bfloat16."""
ROUNDS = 10


@dataclass(frozen=True)
class Shape:
    """What of a model decides how much it reads and computes.

    `weights` are those of matrices that every token is multiplied by; `width` is that of attention, all heads together;
    `cached` is how many numbers a token leaves behind as keys and values, of all layers.
    """

    weights: int
    layers: int
    width: int
    cached: int


def multiplied_weights(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Weights of all matrices but the tables that are only looked up: positions, and tokens where the output layer has
    a matrix of its own. A table of tokens that is the output layer too counts once. Biases and norms are left out.
    """
    own_output = any(name.endswith("lm_head.weight") for name in shapes)
    looked_up = ("wpe.weight", "wte.weight", "embed_tokens.weight") if own_output else ("wpe.weight",)
    return sum(
        shape[0] * shape[1] for name, shape in shapes.items() if len(shape) == 2 and not name.endswith(looked_up)
    )


def shape(folder: Path) -> Shape:
    """Of the model in `folder`, by the headers of its files: no weight is read."""
    from transformers import AutoConfig

    from training.engine import memory

    config = AutoConfig.from_pretrained(folder)
    shapes = memory.describe(str(folder))
    assert shapes is not None
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    each = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept = getattr(config, "num_key_value_heads", None) or heads
    return Shape(multiplied_weights(shapes), layers, heads * each, 2 * layers * kept * each)


def step_bytes(shape: Shape, batch: int, tokens: int) -> float:
    """Bytes that a step of decoding must move at least, on average over `tokens` steps after one token of prompt.

    2 · (weights + batch · cached · (tokens + 1) / 2): each weight once for the whole batch, and of each text the keys
    and values of its 1, 2, …, `tokens` positions, all in bfloat16. Assumed free: activations, logits, drawing tokens.
    """
    return BYTES * (shape.weights + batch * shape.cached * (tokens + 1) / 2)


def most_tokens(shape: Shape, batch: int, tokens: int, bandwidth: float) -> float:
    """Tokens per second that memory allows: batch · bandwidth / bytes of a step. Large batches may be bound earlier, by
    computing.
    """
    return batch * bandwidth / step_bytes(shape, batch, tokens)


def flops_per_token(shape: Shape, attended: float) -> float:
    """Of training, forward and backward: 6 · weights + 12 · layers · width · attended (Chowdhery et al. 2022, "PaLM",
    appendix B), where `attended` is how many positions a token sees on average, its own included. PaLM takes the whole
    length of the row there; here neither what lies ahead nor another post counts.
    """
    return 6 * shape.weights + 12 * shape.layers * shape.width * attended


def training_flops(shape: Shape, rows: PackedRows) -> float:
    """Of one step over `rows`. Padding is no work, and nothing that is computed a second time."""
    from training.engine.packing import IGNORED

    scored = rows.targets != IGNORED
    attended = (rows.position_ids + 1)[scored].double()
    return len(attended) * flops_per_token(shape, float(attended.mean()))


def device() -> str:
    """What torch calls the device that is measured."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def not_measured(goal: float, why: str = NO_GPU) -> Measurement:
    """What a benchmark answers that could not be run: never met."""
    return Measurement(0.0, goal, "higher", broken=(why,))


def peak(name: str) -> float | None:
    """Floating-point operations a second of the card of this name: what KILROY_BENCH_PEAK_TFLOPS says, or the data
    sheet; None where neither is known.
    """
    if said := os.environ.get(PEAK_VARIABLE):
        return float(said) * 1e12
    return next((flops for pattern, flops in PEAKS.items() if re.fullmatch(pattern, name)), None)


def bandwidth(count: int = 2**30) -> float:
    """Bytes a second, read and written, of copying `count` bytes within the device's memory; the best of several."""
    import torch

    source = torch.zeros(count, dtype=torch.uint8, device=device())
    target = torch.empty_like(source)
    return 2 * count / _shortest(lambda: target.copy_(source))


def matmul_flops(size: int = 8192) -> float:
    """Floating-point operations a second of a product of two bfloat16 matrices of `size` rows and columns."""
    import torch

    left, right = (torch.randn(size, size, device=device(), dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / _shortest(lambda: left @ right)


def synchronise() -> None:
    """Waits until the device has done all that it was told: telling is quick, so a clock must not be read before."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _shortest(work: Callable[[], object]) -> float:
    """Seconds of the quickest of several runs of `work`, which is warm by then."""
    best = float("inf")
    for _ in range(ROUNDS):
        synchronise()
        started = time.perf_counter()
        work()
        synchronise()
        best = min(best, time.perf_counter() - started)
    return best
