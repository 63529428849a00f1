"""Model-flops utilisation of fine-tuning a Llama of 1.2 B weights on one GPU, short posts packed, in bfloat16: what the
model must compute as a share of the card's peak; at least half.

Work per token is 6 · weights + 12 · layers · width · attended floating-point operations (Chowdhery et al. 2022, "PaLM",
appendix B). `weights` are those of matrices that every token is multiplied by, the output layer's among them, without
biases, norms and tables that are only looked up; `attended` is how many positions of its own post a token sees on
average. Padding is no work. Weights are kept in float32, products taken in bfloat16, as the engine always does.

The peak is the data sheet's for the cards in `gpu_limits.PEAKS`, else KILROY_BENCH_PEAK_TFLOPS. Beside it: the share of
what a large product of matrices reaches in the same run, and transformers' Trainer on the same model and posts, padded
to the longest of a step.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench import gpu_limits
from tests.bench.bench_finetune import demo_texts, python
from tests.bench.bench_gpu_sampling import LLAMA, Model
from tests.bench.bench_sampling import random_model
from tests.bench.measurement import Measurement

if TYPE_CHECKING:
    from training.engine.types import FinetuneConfig

POSTS, HELDOUT = 2048, 16
PEER_POSTS = 64
"""Posts in a step of the peer: rows that are padded, with all logits at once, take more memory than ours."""
CONTEXT, ROWS = 256, 64
"""Together the tokens of a step of ours. Where they do not fit, the engine computes half as many rows at once."""
WARM_UP, STEPS = 3, 10
GOAL = 0.5


class _EnoughError(Exception):
    """Ends a training without the checkpoint that ends it otherwise: 15 GB of this model."""


def run() -> Measurement:
    """Each in a process of its own, one after the other: memory is the GPU's scarcest good."""
    if gpu_limits.device() != "cuda":
        return gpu_limits.not_measured(GOAL)
    import torch

    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # for the Trainer, which would take all cards
    name = torch.cuda.get_device_name()
    peak = gpu_limits.peak(name)
    if peak is None:
        why = f"The peak of {name} is not known here: set {gpu_limits.PEAK_VARIABLE} to its dense bfloat16 TFLOP/s."
        return gpu_limits.not_measured(GOAL, why)
    with tempfile.TemporaryDirectory(prefix="kilroy-bench-") as folder:
        python(sys.executable, "-m", "tests.bench.bench_gpu_finetune", "prepare", folder)
        ours = json.loads(python(sys.executable, "-m", "tests.bench.bench_gpu_finetune", "ours", folder))
        print(f"Kilroy: {row(ours, peak)}", file=sys.stderr)
        trainer = peer(Path(folder), ours["flops_per_post"], ours["tokens_per_post"])
        said = "not measured" if trainer is None else row(trainer | {"matmul": ours["matmul"]}, peak)
        print(f"transformers Trainer, bf16, padded: {said}", file=sys.stderr)
    return Measurement(ours["flops"] / peak, GOAL, "higher")


def row(found: dict[str, float], peak: float) -> str:
    """Rate, utilisation, and the share of what a product of matrices reached."""
    return (
        f"{found['tokens']:,.0f} tokens/s, {found['flops'] / 1e12:,.0f} TFLOP/s: {found['flops'] / peak:.1%} of "
        f"{peak / 1e12:,.0f}, {found['flops'] / found['matmul']:.1%} of a large product's {found['matmul'] / 1e12:,.0f}"
    )


def prepare(folder: Path, model: Model, texts: Sequence[str]) -> None:
    """Random weights, a tokenizer of the posts, and the posts."""
    from training.engine.models.causal import CausalLanguageModel
    from training.engine.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(texts, vocab_size=8192)
    posts = {"train": texts[HELDOUT:], "heldout": texts[:HELDOUT], "step_posts": PEER_POSTS}
    (folder / "posts.json").write_text(json.dumps(posts))
    shape = {"dtype": "bfloat16", "bos_token_id": tokenizer.end_id, "eos_token_id": tokenizer.end_id, **model}
    CausalLanguageModel(random_model(**shape), tokenizer).save(folder / "model")


def config(context: int, rows: int) -> FinetuneConfig:
    """A training that is never over by itself, and tests itself before the first step alone."""
    from training.engine.types import FinetuneConfig

    return FinetuneConfig(
        learning_rate=1e-4,
        warmup_steps=1,
        max_epochs=1000,
        context=context,
        rows_per_step=rows,
        evaluate_every=1_000_000,
        heldout_rows=2,
        samples_per_evaluation=0,
        schedule="constant",
    )


def train(folder: Path, config: FinetuneConfig, warm_up: int, steps: int) -> dict[str, float]:
    """Kilroy's own loop, as it is: tokens and floating-point operations a second over `steps` steps after the first
    `warm_up` (at least one), and, of all posts, the mean operations and tokens of a post.
    """
    from training.engine.batches import Batches
    from training.engine.finetune import TIME, Finetune
    from training.engine.types import TrainingPost

    posts = json.loads((folder / "posts.json").read_text())
    shown, heldout = ([TrainingPost(text) for text in posts[part]] for part in ("train", "heldout"))
    ends: list[float] = []

    def note(step: int, metrics: Any) -> None:
        gpu_limits.synchronise()
        if "loss" in metrics:
            ends.append(time.perf_counter())
        if len(ends) == warm_up + steps:
            raise _EnoughError

    with tempfile.TemporaryDirectory() as work:
        training = Finetune(str(folder / "model"), shown, heldout, config, Path(work))
        with contextlib.suppress(_EnoughError):
            training.run(lambda: False, note)
    for sentence in training.report().notes:
        print(sentence, file=sys.stderr)
    shape, model = gpu_limits.shape(folder / "model"), training.model
    batches = Batches(model, shown, {TIME: heldout}, config)  # the same posts in the same steps
    computed = [batches.tensors(batches.step(step, lambda _: False)) for step in range(warm_up, warm_up + steps)]
    seconds = ends[-1] - ends[warm_up - 1]
    everything = model.pack(posts["train"], config.context)
    return {
        "tokens": sum(rows.scored_tokens for rows in computed) / seconds,
        "flops": sum(gpu_limits.training_flops(shape, rows) for rows in computed) / seconds,
        "flops_per_post": gpu_limits.training_flops(shape, everything) / len(shown),
        "tokens_per_post": everything.scored_tokens / len(shown),
    }


def peer(folder: Path, flops_per_post: float, tokens_per_post: float) -> dict[str, float] | None:
    """The Trainer's rates by the mean post, or None where it is not installed or ends early, out of memory say. The
    first steps and the last, which has fewer posts, do not count.
    """
    program = Path(__file__).with_name("finetune_peers.py")
    try:
        seconds = json.loads(python(sys.executable, str(program), "trainer-bf16", str(folder)))["seconds"]
    except subprocess.CalledProcessError:
        return None
    step_posts = json.loads((folder / "posts.json").read_text())["step_posts"]
    counted = seconds[WARM_UP:-1]
    posts_per_second = step_posts * len(counted) / sum(counted)
    return {"tokens": tokens_per_post * posts_per_second, "flops": flops_per_post * posts_per_second}


def main(part: str, folder: Path) -> None:
    """One part of the benchmark, in a process of its own; the last line is JSON."""
    if part == "prepare":
        prepare(folder, LLAMA, demo_texts()[: POSTS + HELDOUT])
        print("{}")
    else:
        matmul = gpu_limits.matmul_flops()
        print(json.dumps(train(folder, config(CONTEXT, ROWS), WARM_UP, STEPS) | {"matmul": matmul}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
