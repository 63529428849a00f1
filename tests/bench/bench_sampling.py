"""Posts of 64 tokens from a model of GPT-2's size on two cores: our tokens per second over transformers' in float32, at
a batch of 32; at least six times.

Peers beside it: transformers in bfloat16, and CTranslate2 and OpenVINO in int8 where
KILROY_BENCH_CTRANSLATE2_PYTHON and KILROY_BENCH_OPENVINO_PYTHON name the Python of an environment that has them
(`pip install ctranslate2 "transformers<5" torch`; `pip install openvino nncf optimum-intel`). Weights are random: this
is about speed alone. Engines take turns, and the best of several counts, so that they share what else the machine does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from kilroy_site.config import BASE_DIR
from tests.bench import sampling_peers
from tests.bench.measurement import Measurement

THREADS = 2
BATCHES = (1, 8, 32)
REPEATS = int(os.environ.get("KILROY_BENCH_REPEATS", "3"))
OURS, PEER = "ours", "transformers_fp32"
ENVIRONMENTS = {
    OURS: sys.executable,
    "ours_exact": sys.executable,
    PEER: sys.executable,
    "transformers_bf16": sys.executable,
    "ctranslate2": os.environ.get("KILROY_BENCH_CTRANSLATE2_PYTHON"),
    "openvino": os.environ.get("KILROY_BENCH_OPENVINO_PYTHON"),
}
GOALS = {PEER: {1: 4.5, 8: 6.0, 32: 6.0}, "ctranslate2": {8: 1.3, 32: 1.3}, "openvino": {32: 1.0}}
"""How many times as fast as each peer we are to be, by batch."""


def run() -> Measurement:
    """The table goes to the standard error."""
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder))
        best = measure(folder)
    for name, python in ENVIRONMENTS.items():
        figures = "not measured" if python is None else row(best[name], best[PEER])
        print(f"{name:18} {figures}", file=sys.stderr)
    broken = [
        f"batch {batch}: {best[peer][batch] / best[OURS][batch]:.2f}x of {peer}, not {goal}x"
        for peer, goals in GOALS.items()
        if peer in best
        for batch, goal in goals.items()
        if best[peer][batch] / best[OURS][batch] < goal
    ]
    speed, peer = (sampling_peers.TOKENS * 32 / best[name][32] for name in (OURS, PEER))
    return Measurement(ours=speed, peer=peer, goal=GOALS[PEER][32], better="higher", broken=tuple(broken))


def row(seconds: dict[int, float], peer: dict[int, float]) -> str:
    """Tokens per second and the ratio to `peer`, by batch."""
    return "   ".join(
        f"{batch}: {sampling_peers.TOKENS * batch / seconds[batch]:6.0f}/s ({peer[batch] / seconds[batch]:.2f}x)"
        for batch in BATCHES
    )


def measure(folder: str) -> dict[str, dict[int, float]]:
    """The shortest seconds of each engine that is there, by batch."""
    workers = {name: _start(name, python, folder) for name, python in ENVIRONMENTS.items() if python}
    best: dict[str, dict[int, float]] = defaultdict(dict)
    try:
        for batch in BATCHES:
            for _ in range(REPEATS):
                for name, worker in workers.items():
                    seconds = float(_ask(worker, f"{batch}\n"))
                    best[name][batch] = min(seconds, best[name].get(batch, seconds))
    finally:
        for worker in workers.values():
            worker.terminate()
    return best


def _start(name: str, python: str, folder: str) -> subprocess.Popen[str]:
    command = [python, str(Path(sampling_peers.__file__)), name, folder, str(THREADS)]
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS), "PYTHONPATH": str(BASE_DIR) if "ours" in name else ""}
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    while _ask(worker, "") != "ready":  # libraries may greet on the standard output
        pass
    return worker


def _ask(worker: subprocess.Popen[str], line: str) -> str:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(line)
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        raise RuntimeError(f"{worker.args} ended with exit code {worker.wait()}.")
    return answer.strip()


def make_model(folder: Path) -> None:
    """A GPT-2 of 124 M random weights with a vocabulary of made-up words."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=0)).save_pretrained(folder)
    words = {"<|endoftext|>": 0, **{f"w{number}": number for number in range(1, 50257)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<|endoftext|>"))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"
    ).save_pretrained(folder)
    config = folder / "tokenizer_config.json"  # transformers 4, which a peer needs, knows the class by its former name
    config.write_text(config.read_text().replace("TokenizersBackend", "PreTrainedTokenizerFast"))
