"""Of 50 trainings killed with `kill -9` at a random moment and resumed, how many end in the same bits; all of them.

Each is a process of its own with a tiny model, which writes a checkpoint every few steps, so that the kill also comes
while one is written. Kept too: no post is blamed for a kill. `python -m tests.bench.bench_resume 3` tries three.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.measurement import Measurement

KILLS = 50
CHECKPOINT_EVERY_S = 0.05
TEXTS = [f"{a} {b} {c}" for a in ("a quiet", "the old", "my new") for b in ("train", "dog", "oven", "song")
         for c in ("was late", "is red and fast", "sings in the rain", "ran home")]  # fmt: skip


def run(kills: int = KILLS) -> Measurement:
    """Processes are forked from this one, which has loaded torch and computed nothing."""
    import torch
    import transformers  # noqa: F401 # loaded once, here

    from training.engine import finetune  # noqa: F401 # likewise

    torch.set_num_threads(1)
    rng = random.Random(0)
    same, broken = 0, []
    with tempfile.TemporaryDirectory(prefix="kilroy-bench-") as name:
        folder = Path(name)
        _wait(_fork(lambda: _build(folder / "model")))
        began = time.monotonic()
        _wait(_fork(lambda: _train(folder, "straight")))
        seconds = time.monotonic() - began
        expected = (folder / "straight-weights.safetensors").read_bytes()
        for trial in range(kills):
            while not _killed(folder, f"run-{trial}", rng.uniform(0.1, 1.0) * seconds):
                continue
            _wait(_fork(lambda trial=trial: _train(folder, f"run-{trial}")))
            same += (folder / f"run-{trial}-weights.safetensors").read_bytes() == expected
            report = json.loads((folder / f"run-{trial}-report.json").read_text())
            if report["quarantined"]:
                broken.append(f"run {trial}: {report['quarantined']}")
    return Measurement(ours=same, goal=kills, better="higher", broken=tuple(broken))


def _killed(folder: Path, name: str, after: float) -> bool:
    """Starts a training and kills it. False, with nothing left of it, when it had ended before."""
    process = _fork(lambda: _train(folder, name))
    time.sleep(after)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        return True
    shutil.rmtree(folder / name)
    return False


def _fork(work: Callable[[], Any]) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def _wait(process: int) -> None:
    _, status = os.waitpid(process, 0)
    if status:
        raise RuntimeError(f"a training ended with status {status}")


def _build(folder: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from training.engine.models.causal import CausalLanguageModel
    from training.engine.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(TEXTS, vocab_size=320)
    config = GPT2Config(
        vocab_size=tokenizer.vocab_size, n_embd=32, n_layer=2, n_head=2, n_positions=64,
        bos_token_id=tokenizer.end_id, eos_token_id=tokenizer.end_id,
    )  # fmt: skip
    torch.manual_seed(0)
    CausalLanguageModel(GPT2LMHeadModel(config), tokenizer).save(folder)


def _train(folder: Path, name: str) -> None:
    """To the end, from wherever `folder/name` is; dropout and an unfinished mixture included."""
    from safetensors.torch import save_file

    from training.engine import finetune
    from training.engine.types import FinetuneConfig, TrainingPost

    finetune.CHECKPOINT_EVERY_S = CHECKPOINT_EVERY_S
    config = FinetuneConfig(
        learning_rate=3e-3, max_epochs=8, context=32, rows_per_step=2, evaluate_every=40, patience=100,
        samples_per_evaluation=1,
    )  # fmt: skip
    posts = [TrainingPost(text, str(at), weight=1 + at % 3 / 2) for at, text in enumerate(TEXTS)]
    training = finetune.Finetune(str(folder / "model"), posts[:40], posts[40:], config, folder / name)
    report = training.run(lambda: False, lambda step, metrics: None)
    (folder / f"{name}-report.json").write_text(json.dumps({"quarantined": dict(report.quarantined)}))
    weights = {key: weight.clone() for key, weight in training.model.weights().items()}
    save_file(weights, folder / f"{name}-weights.safetensors")


if __name__ == "__main__":
    measured = run(int(sys.argv[1]))
    print(measured.line("resume"))
    sys.exit(not measured.met)
