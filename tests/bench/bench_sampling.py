"""Posts of 64 tokens from a model of GPT-2's size on two cores: our tokens per second over transformers' in float32, at
a batch of 32; at least six times.

Peers beside it: transformers in bfloat16, and CTranslate2 and OpenVINO in int8 and llama.cpp in q8_0 where
KILROY_BENCH_CTRANSLATE2_PYTHON, KILROY_BENCH_OPENVINO_PYTHON and KILROY_BENCH_LLAMA_CPP_PYTHON name the Python of an
environment that has them (`pip install ctranslate2 "transformers<5" torch`; `pip install openvino nncf optimum-intel`;
`pip install llama-cpp-python gguf safetensors`, compiled on the processor that is measured). Weights are random: this
is about speed alone. Engines take turns, and the best of several counts, so that they share what else the machine does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

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
    "llama_cpp": os.environ.get("KILROY_BENCH_LLAMA_CPP_PYTHON"),
}
GOALS = {PEER: {1: 4.5, 8: 6.0, 32: 6.0}, "ctranslate2": {8: 1.3, 32: 1.3}, "openvino": {32: 1.0}}
"""How many times as fast as each peer we are to be, by batch."""


def run() -> Measurement:
    """The table goes to the standard error."""
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder))
        best = measure(folder, ENVIRONMENTS, BATCHES, {"CUDA_VISIBLE_DEVICES": ""})
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


def measure(
    folder: str,
    environments: Mapping[str, str | None],
    batches: Sequence[int],
    variables: Mapping[str, str],
    warm_ups: int = 0,
) -> dict[str, dict[int, float]]:
    """The shortest seconds of each engine that is there, by batch, after so many of each that do not count.

    `environments` says which Python each has, `variables` are more for their environment.
    """
    workers = {name: _start(name, python, folder, variables) for name, python in environments.items() if python}
    best: dict[str, dict[int, float]] = defaultdict(dict)
    try:
        for batch in batches:
            for round_ in range(warm_ups + REPEATS):
                for name, worker in workers.items():
                    seconds = float(_ask(worker, f"{batch}\n"))
                    if round_ >= warm_ups:
                        best[name][batch] = min(seconds, best[name].get(batch, seconds))
    finally:
        for worker in workers.values():
            with suppress(subprocess.TimeoutExpired):  # one whose input ends gives back what it holds
                worker.communicate(timeout=30)
            worker.terminate()
    return best


def _start(name: str, python: str, folder: str, variables: Mapping[str, str]) -> subprocess.Popen[str]:
    command = [python, str(Path(sampling_peers.__file__)), name, folder, str(THREADS)]
    path = {"PYTHONPATH": str(BASE_DIR) if "ours" in name else ""}
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS)} | path | dict(variables)
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    ready = _ask(worker, "")
    assert ready == "ready", ready
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


def make_model(folder: Path, kind: str = "gpt2", dtype: str = "float32", **shape: Any) -> None:
    """A model of random weights, a GPT-2 of 124 M unless said otherwise, with a vocabulary of made-up words."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    network = random_model(kind, dtype, bos_token_id=0, eos_token_id=0, **shape)
    network.save_pretrained(folder)
    words = {"<|endoftext|>": 0, **{f"w{number}": number for number in range(1, network.config.vocab_size)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<|endoftext|>"))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"
    ).save_pretrained(folder)
    config = folder / "tokenizer_config.json"  # transformers 4, which a peer needs, knows the class by its former name
    config.write_text(config.read_text().replace("TokenizersBackend", "PreTrainedTokenizerFast"))


def random_model(kind: str, dtype: str, **shape: Any) -> Any:
    """A causal model of transformers with random weights, made where it is made fastest."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape), dtype=getattr(torch, dtype))
