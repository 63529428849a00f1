"""One engine that writes 64 tokens for a batch, as a process of its own: its environment may pin what ours does not.

`python sampling_peers.py NAME FOLDER THREADS` loads the model in FOLDER, says `ready`, and answers each line (a batch
size) with the seconds that 64 sampled tokens for each text took.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

TOKENS = 64
Write = Callable[[int], None]


def ours(folder: str, threads: int) -> Write:
    """Kilroy's engine in int8, the rows' random numbers and bookkeeping included."""
    import torch

    from training.engine.models.causal import CausalLanguageModel
    from training.engine.types import SamplingParams

    torch.set_num_threads(threads)
    model = CausalLanguageModel.load(folder)

    def write(batch: int) -> None:
        samples = model.generate([""] * batch, SamplingParams(max_new_tokens=TOKENS), precision="fast")
        assert sum(len(sample.token_ids) for sample in samples) > 0.9 * TOKENS * batch

    return write


def ours_exact(folder: str, threads: int) -> Write:
    """Kilroy's engine as the model itself computes: bfloat16 products where the processor has them."""
    import torch

    from training.engine.models.causal import CausalLanguageModel
    from training.engine.types import SamplingParams

    torch.set_num_threads(threads)
    model = CausalLanguageModel.load(folder)
    return lambda batch: model.generate([""] * batch, SamplingParams(max_new_tokens=TOKENS)) and None


def transformers_fp32(folder: str, threads: int) -> Write:
    """transformers' `generate`."""
    return _transformers(folder, threads, "float32")


def transformers_bf16(folder: str, threads: int) -> Write:
    """transformers' `generate` with weights in bfloat16."""
    return _transformers(folder, threads, "bfloat16")


def _transformers(folder: str, threads: int, dtype: str) -> Write:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    def write(batch: int) -> None:
        ids = torch.zeros(batch, 1, dtype=torch.long)
        model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, pad_token_id=0,
            min_new_tokens=TOKENS, max_new_tokens=TOKENS,
        )  # fmt: skip

    return write


def ctranslate2(folder: str, threads: int) -> Write:
    """CTranslate2 with int8 weights and activations, converted on the spot."""
    import ctranslate2 as engine
    from ctranslate2.converters import TransformersConverter

    converted = Path(folder) / "ctranslate2"
    if not converted.exists():
        TransformersConverter(folder).convert(str(converted), quantization="int8")
    generator = engine.Generator(str(converted), compute_type="int8", intra_threads=threads)

    def write(batch: int) -> None:
        generator.generate_batch(
            [["<|endoftext|>"]] * batch, max_batch_size=batch, min_length=TOKENS, max_length=TOKENS, sampling_topk=0,
            include_prompt_in_result=False, end_token=[],
        )  # fmt: skip

    return write


def openvino(folder: str, threads: int) -> Write:
    """OpenVINO with int8 weights, exported by optimum-intel and driven by the shortest loop there is."""
    import numpy as np
    import torch
    from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig

    torch.set_num_threads(threads)
    model = OVModelForCausalLM.from_pretrained(
        folder, export=True, quantization_config=OVWeightQuantizationConfig(bits=8),
        ov_config={"INFERENCE_NUM_THREADS": str(threads), "PERFORMANCE_HINT": "LATENCY"},
    )  # fmt: skip
    model.compile()
    compiled = model.request.get_compiled_model()
    names = {name for port in compiled.inputs for name in port.get_names()}

    def write(batch: int) -> None:
        request = compiled.create_infer_request()  # the state of a used one keeps its batch
        ids = np.zeros((batch, 1), dtype=np.int64)
        for step in range(TOKENS):
            given = {
                "input_ids": ids,
                "attention_mask": np.ones((batch, step + 1), dtype=np.int64),
                "position_ids": np.full((batch, 1), step, dtype=np.int64),
                "beam_idx": np.arange(batch, dtype=np.int32),
            }
            request.infer({name: value for name, value in given.items() if name in names})
            logits = torch.from_numpy(request.get_tensor("logits").data)[:, -1]
            ids = choose(logits).numpy()

    def choose(logits: torch.Tensor) -> torch.Tensor:
        """`torch.multinomial` would take longer than the model: 29 blocks of 1,733 tokens first, then inside of one."""
        rows = torch.arange(len(logits))
        blocks = torch.softmax(logits, dim=-1).view(len(logits), 29, 1733)
        sums = blocks.sum(dim=-1).cumsum(dim=-1)
        wanted = torch.rand(len(logits), 1) * sums[:, -1:]
        block = (sums <= wanted).sum(dim=-1).clamp(max=28)
        inside = blocks[rows, block].cumsum(dim=-1) + (sums[rows, block] - blocks[rows, block].sum(dim=-1))[:, None]
        return (block * 1733 + (inside <= wanted).sum(dim=-1).clamp(max=1732))[:, None]

    return write


def main(name: str, folder: str, threads: str) -> None:
    """Answers batch sizes until its input ends."""
    peers = (ours, ours_exact, transformers_fp32, transformers_bf16, ctranslate2, openvino)
    write = {peer.__name__: peer for peer in peers}[name](folder, int(threads))
    write(2)
    print("ready", flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        write(int(line))
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
