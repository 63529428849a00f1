"""Posts a second in fine-tuning GPT-2's shape, against transformers' Trainer as most people run it; at least 6 times.

Also at least 2 times the Trainer in bfloat16, padded to the longest post of a step, and 1.1 times TRL with packing,
where `KILROY_BENCH_TRL_PYTHON` names a Python that has it. All start from the same random weights, see the same posts
once with the same optimizer; Kilroy must come to a held-out loss no higher.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from kilroy_site.config import BASE_DIR
from tests.bench.finetune_peers import COMMON, PACKED, STEP_POSTS
from tests.bench.measurement import Measurement

STEPS = 7
HELDOUT = 64
GOALS = {"trainer-fp32": 6.0, "trainer-bf16": 2.0, "trl": 1.1}
SAME_LOSS = 0.03
"""How much higher our held-out loss may be than a peer's: a share of what was learned."""


def run() -> Measurement:
    """Each in a process of its own, Kilroy and TRL twice, in turns: what else the machine does hits all alike."""
    with tempfile.TemporaryDirectory(prefix="kilroy-bench-") as name:
        folder = Path(name)
        start = json.loads(python(sys.executable, "-m", "tests.bench.bench_finetune", "prepare", name))
        kinds = ["ours", *(kind for kind in GOALS if _there(kind)), "ours"]
        results: dict[str, list[dict[str, Any]]] = {}
        for kind in kinds:
            result = json.loads(python(*_command(kind, folder)))
            results.setdefault(kind, []).append(result)
            print(json.dumps({"kind": kind, **_shown(result, start)}), file=sys.stderr)
    return _judge(results, start)


def _judge(results: dict[str, list[dict[str, Any]]], start: dict[str, Any]) -> Measurement:
    rates = {kind: sum(_rate(r, start) for r in found) / len(found) for kind, found in results.items()}
    ours = results["ours"][0]["heldout_loss"]
    broken = [f"{kind} was not measured" for kind in GOALS if kind not in rates]
    for kind, goal in GOALS.items():
        if kind not in rates:
            continue
        if rates["ours"] / rates[kind] < goal:
            broken.append(f"{rates['ours'] / rates[kind]:.2f} times {kind}, not {goal}")
        off = ours - results[kind][0]["heldout_loss"]
        if off > SAME_LOSS * (start["heldout_loss"] - ours):
            broken.append(f"the held-out loss of {kind} is lower by {off:.3f}")
    peer = rates.get("trainer-fp32")
    return Measurement(rates["ours"], GOALS["trainer-fp32"], "higher", peer, tuple(broken))


def _rate(result: dict[str, Any], start: dict[str, Any], clock: str = "seconds") -> float:
    """Posts a second without the first step, in which memory is fetched and kernels are chosen."""
    seconds = result[clock]
    return float(start["posts"] * (len(seconds) - 1) / len(seconds) / sum(seconds[1:]))


def _shown(result: dict[str, Any], start: dict[str, Any]) -> dict[str, Any]:
    return {
        "posts_per_second": round(_rate(result, start), 2),
        "posts_per_processor_second": round(_rate(result, start, "processor_seconds"), 2),
        "heldout_loss": round(result["heldout_loss"], 4),
        "losses": [round(loss, 3) for loss in result["losses"]],
    }


def _there(kind: str) -> bool:
    needed = "KILROY_BENCH_TRL_PYTHON" in os.environ if kind == "trl" else importlib.util.find_spec("accelerate")
    if not needed:
        print(f"{kind}: not measured: it is not installed", file=sys.stderr)
    return bool(needed)


def _command(kind: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.bench.bench_finetune", kind, str(folder)]


def python(*command: str) -> str:
    """The last line that a command says, run where the repository is. Raises when it fails."""
    done = subprocess.run(command, cwd=BASE_DIR, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


def demo_texts() -> list[str]:
    """The posts of the demo: short ones."""
    with (BASE_DIR / "training/demo/posts.csv").open(encoding="utf-8") as file:
        return [row["text"] for row in csv.DictReader(file)]


def _prepare(folder: Path) -> dict[str, Any]:
    """GPT-2's shape with random weights, and short posts: the demo's."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from training.engine.models.causal import CausalLanguageModel
    from training.engine.tokenizer import train_tokenizer

    texts = demo_texts()
    tokenizer = train_tokenizer(texts, vocab_size=8192)
    posts = {"train": texts[: STEP_POSTS * STEPS], "heldout": texts[-HELDOUT:]}
    (folder / "posts.json").write_text(json.dumps(posts))
    torch.manual_seed(0)
    config = GPT2Config(
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.end_id,
        eos_token_id=tokenizer.end_id,
        pad_token_id=tokenizer.vocab_size,
    )
    CausalLanguageModel(GPT2LMHeadModel(config), tokenizer).save(folder / "model")
    return {"posts": STEP_POSTS * STEPS, "heldout_loss": _heldout_loss(folder / "model", folder)}


def _heldout_loss(model: Path, folder: Path) -> float:
    from training.engine.models.causal import CausalLanguageModel

    loaded = CausalLanguageModel.load(str(model))
    scores = loaded.logprobs(json.loads((folder / "posts.json").read_text())["heldout"])
    return -sum(map(sum, scores)) / sum(map(len, scores))


def _ours(folder: Path) -> dict[str, Any]:
    from training.engine.finetune import Finetune
    from training.engine.types import FinetuneConfig, TrainingPost

    posts = json.loads((folder / "posts.json").read_text())
    config = FinetuneConfig(
        learning_rate=COMMON["learning_rate"],
        warmup_steps=1,
        max_epochs=1,
        context=PACKED,
        rows_per_step=2,
        evaluate_every=1000,
        samples_per_evaluation=0,
        schedule="constant",
    )
    train = [TrainingPost(text) for text in posts["train"]]
    with tempfile.TemporaryDirectory() as work:
        training = Finetune(
            str(folder / "model"), train, [TrainingPost(text) for text in posts["heldout"]], config, Path(work)
        )
        losses: list[float] = []
        clocks: list[tuple[float, float]] = []

        def note(step: int, metrics: Any) -> None:
            if "loss" in metrics:
                losses.append(metrics["loss"])
            if len(clocks) <= training.total_steps:  # the evaluation before the first step sets the clocks
                clocks.append((time.perf_counter(), time.process_time()))

        training.run(lambda: False, note)
        training.finish(folder / "ours-model")
    seconds, processor = ([b - a for a, b in pairwise(readings)] for readings in zip(*clocks, strict=True))
    return {"seconds": seconds, "processor_seconds": processor, "losses": losses}


def _main(kind: str, folder: Path) -> dict[str, Any]:
    if kind == "prepare":
        return _prepare(folder)
    if kind == "ours":
        result = _ours(folder)
    else:
        chosen = os.environ["KILROY_BENCH_TRL_PYTHON"] if kind == "trl" else sys.executable
        result = json.loads(python(chosen, str(Path(__file__).with_name("finetune_peers.py")), kind, str(folder)))
    return result | {"heldout_loss": _heldout_loss(folder / f"{kind}-model", folder)}


if __name__ == "__main__":
    print(json.dumps(_main(sys.argv[1], Path(sys.argv[2]))))
