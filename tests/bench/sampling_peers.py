"""One engine that writes 64 tokens for a batch, as a process of its own: its environment may pin what ours does not.

`python sampling_peers.py NAME FOLDER THREADS` loads the model in FOLDER, says `ready`, and answers each line (a batch
size) with the seconds that 64 sampled tokens for each text took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

TOKENS = 64
Write = Callable[[int], None]


def ours(folder: str, threads: int) -> Write:
    """Kilroy's engine in int8, the rows' random numbers and bookkeeping included."""
    return _kilroy(folder, threads, "fast")


def ours_exact(folder: str, threads: int) -> Write:
    """Kilroy's engine as the model itself computes: bfloat16 products where the hardware has them."""
    return _kilroy(folder, threads, "exact")


def _kilroy(folder: str, threads: int, precision: Literal["fast", "exact"]) -> Write:
    import torch

    from training.engine.models.causal import CausalLanguageModel
    from training.engine.types import SamplingParams

    torch.set_num_threads(threads)
    model = CausalLanguageModel.load(folder)

    def write(batch: int) -> None:
        samples = model.generate([""] * batch, SamplingParams(max_new_tokens=TOKENS), precision=precision)
        assert sum(len(sample.token_ids) for sample in samples) > 0.9 * TOKENS * batch

    return write


def transformers_fp32(folder: str, threads: int) -> Write:
    """transformers' `generate`."""
    return _transformers(folder, threads, "float32")


def transformers_bf16(folder: str, threads: int) -> Write:
    """transformers' `generate` with weights in bfloat16."""
    return _transformers(folder, threads, "bfloat16")


def transformers_static(folder: str, threads: int) -> Write:
    """transformers' `generate` in bfloat16 with a static cache: on a GPU it then compiles the model by itself."""
    return _transformers(folder, threads, "bfloat16", cache_implementation="static")


def _transformers(folder: str, threads: int, dtype: str, **options: Any) -> Write:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device).eval()

    def write(batch: int) -> None:
        ids = torch.zeros(batch, 1, dtype=torch.long, device=device)
        model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, pad_token_id=0,
            min_new_tokens=TOKENS, max_new_tokens=TOKENS, **options,
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


def llama_cpp(folder: str, threads: int) -> Write:
    """llama.cpp with q8_0 weights, each text a sequence of one batch, driven by the shortest loop there is."""
    import logging

    import llama_cpp as engine
    import numpy as np

    logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL)  # else it tells of every tensor
    path = Path(folder) / "q8_0.gguf"
    if not path.exists():
        _write_gguf(Path(folder), path)
    model = engine.llama_model_load_from_file(str(path).encode(), engine.llama_model_default_params())
    if not model:
        raise RuntimeError("llama.cpp did not load the model.")
    words = engine.llama_vocab_n_tokens(engine.llama_model_get_vocab(model))
    random = np.random.default_rng()

    @cache
    def prepared(batch: int) -> tuple[Any, Any]:
        """A context for so many texts, and a step's tokens with their places."""
        params = engine.llama_context_default_params()
        params.n_ctx = 256 * batch  # it keeps no less for a text
        params.n_seq_max = params.n_batch = params.n_ubatch = batch
        params.n_threads = params.n_threads_batch = threads
        step = engine.llama_batch_init(batch, 0, 1)
        step.n_tokens = batch
        for text in range(batch):
            step.n_seq_id[text], step.seq_id[text][0], step.logits[text] = 1, text, 1
        return engine.llama_init_from_model(model, params), step

    def write(batch: int) -> None:
        context, step = prepared(batch)
        engine.llama_memory_clear(engine.llama_get_memory(context), False)
        tokens, places = (np.ctypeslib.as_array(part, (batch,)) for part in (step.token, step.pos))
        tokens[:] = 0
        for place in range(TOKENS):
            places[:] = place
            if engine.llama_decode(context, step):
                raise RuntimeError("llama.cpp did not decode a step.")
            tokens[:] = choose(np.ctypeslib.as_array(engine.llama_get_logits(context), (batch, words)))

    def choose(logits: np.ndarray) -> np.ndarray:
        """29 blocks of 1,733 tokens first, then inside of one: seven times as fast as llama.cpp's own sampler."""
        rows = np.arange(len(logits))
        np.exp(np.subtract(logits, logits.max(axis=1, keepdims=True), out=logits), out=logits)
        blocks = logits.reshape(len(logits), 29, 1733)
        shares = blocks.sum(axis=2)
        sums = shares.cumsum(axis=1)
        wanted = random.random((len(logits), 1), dtype=np.float32) * sums[:, -1:]
        block = (sums <= wanted).sum(axis=1).clip(max=28)
        inside = blocks[rows, block].cumsum(axis=1) + (sums - shares)[rows, block][:, None]
        return block * 1733 + (inside <= wanted).sum(axis=1).clip(max=1732)

    return write


def _write_gguf(folder: Path, path: Path) -> None:
    """The model in `folder` with its matrices in q8_0, and no words: tokens go in and out as numbers."""
    import gguf
    from safetensors.numpy import load_file

    q8_0 = gguf.GGMLQuantizationType.Q8_0
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, config["n_layer"])
    for name, values in load_file(folder / "model.safetensors").items():
        known = names.get_name(name, (".weight", ".bias"))
        if values.ndim == 1 or known == "position_embd.weight":
            writer.add_tensor(known, values)
        else:
            matrix = values.T if known.startswith("blk.") else values  # GPT-2's layers keep theirs transposed
            writer.add_tensor(known, gguf.quantize(matrix, q8_0), raw_dtype=q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def vllm(folder: str, threads: int) -> Write:
    """vLLM in bfloat16. It takes less of the GPU's memory than it would, since Kilroy's engine is on the same one."""
    from vllm import LLM, SamplingParams

    model = LLM(
        model=folder, dtype="bfloat16", max_model_len=2 * TOKENS, max_num_seqs=256, gpu_memory_utilization=0.4,
        enable_prefix_caching=False,
    )  # fmt: skip
    params = SamplingParams(temperature=1.0, max_tokens=TOKENS, ignore_eos=True)

    def write(batch: int) -> None:
        found = model.generate([{"prompt_token_ids": [0]}] * batch, params, use_tqdm=False)
        assert sum(len(answer.outputs[0].token_ids) for answer in found) == TOKENS * batch

    return write


def _synchronise() -> None:
    """Waits for the GPU, where torch has begun to use one: it is told quickly what it does slowly."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def main(name: str, folder: str, threads: str) -> None:
    """Answers batch sizes until its input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # engines, and processes of theirs, greet on the standard output
    peers = (
        ours, ours_exact, transformers_fp32, transformers_bf16, transformers_static, ctranslate2, openvino, llama_cpp,
        vllm,
    )  # fmt: skip
    write = {peer.__name__: peer for peer in peers}[name](folder, int(threads))
    write(2)
    print("ready", file=answers)
    for line in sys.stdin:
        _synchronise()
        started = time.perf_counter()
        write(int(line))
        _synchronise()
        print(time.perf_counter() - started, file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
