"""What a training is said to need, against what it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.training.engine.conftest import POSTS
from tests.training.engine.test_finetune import CONFIG
from training.engine import memory
from training.engine.models.causal import CausalLanguageModel
from training.engine.tokenizer import train_tokenizer

SCRIPT = """
import json, sys
from pathlib import Path
import torch
from tests.training.engine.conftest import POSTS
from tests.training.engine.test_finetune import as_posts, quiet, stop_after
from training.engine.finetune import Finetune
from training.engine.types import FinetuneConfig
torch.set_num_threads(1)
small, large, workdir, config = *map(Path, sys.argv[1:4]), FinetuneConfig(**json.loads(sys.argv[4]))
def peak(base, name):
    Finetune(base, as_posts(POSTS[:6]), as_posts(POSTS[6:]), config, workdir / name).run(stop_after(1), quiet)
    # Not ru_maxrss: that begins with what the process that started this one has taken.
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
before = peak(small, "small")  # with all libraries
print(peak(large, "large") - before)
"""


@pytest.fixture(scope="module")
def large_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 13 million weights."""
    tokenizer = train_tokenizer(POSTS * 4, vocab_size=320)
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=512, intermediate_size=2048, num_hidden_layers=3,
        num_attention_heads=8, max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("large") / "model"
    CausalLanguageModel(LlamaForCausalLM(config), tokenizer).save(folder)
    return folder


def test_lora_takes_about_what_it_is_said_to_need(
    tiny_model_folder: Path, large_model_folder: Path, tmp_path: Path
) -> None:
    config = replace(CONFIG, method="lora", evaluate_every=100, micro_rows=1, samples_per_evaluation=1)
    shapes = memory.describe(str(large_model_folder))
    assert shapes is not None
    needed = memory.needed_bytes(shapes, config)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tiny_model_folder), str(large_model_folder), str(tmp_path),
         json.dumps(vars(config))],
        cwd=Path(__file__).resolve().parents[3], env={**os.environ, "PYTHONPATH": "."}, stdout=subprocess.PIPE,
        text=True, check=True,
    )  # fmt: skip

    assert needed > 100e6
    # Allocators keep some of what they are given back.
    assert 0.5 < int(done.stdout) / needed < 2.5
