"""Others' fine-tuning of the same model on the same posts, each in a process of its own: run by `bench_finetune`.

Imports nothing of Kilroy: TRL lives in an environment of its own. Prints one JSON object: seconds of each step, and the
loss of each.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

STEP_POSTS = 32
PADDED = 128
PACKED = 256
COMMON: dict[str, Any] = {
    "num_train_epochs": 1,
    "learning_rate": 1e-4,
    "weight_decay": 0.1,
    "adam_beta2": 0.95,
    "max_grad_norm": 1.0,
    "lr_scheduler_type": "constant",
    "optim": "adamw_torch_fused",
    "save_strategy": "no",
    "report_to": "none",
    "logging_steps": 1,
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}


def main(kind: str, folder: Path) -> None:
    """Train as `kind` does, from `folder`, which holds `model` and `posts.json`."""
    import torch

    posts = json.loads((folder / "posts.json").read_text())
    texts = posts["train"]
    options = COMMON | {"output_dir": str(folder / kind), "use_cpu": not torch.cuda.is_available()}
    if "step_posts" in posts:
        options["per_device_train_batch_size"] = posts["step_posts"]
    trainer = _sft(folder, texts, options) if kind == "trl" else _trainer(kind, folder, texts, options)
    clock = _clock()
    trainer.add_callback(clock)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    out = folder / f"{kind}-model"
    trainer.save_model(str(out))
    print(json.dumps({"seconds": clock.seconds, "processor_seconds": clock.processor_seconds, "losses": losses}))


def _trainer(kind: str, folder: Path, texts: list[str], options: dict[str, Any]) -> Any:
    """The plain way: a row for each post, padded to 128 tokens in float32, or to the longest of a step in bfloat16."""
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.add_special_tokens({"pad_token": "<|padding|>"})
    rows = [tokenizer(tokenizer.eos_token + text + tokenizer.eos_token) for text in texts]
    collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)

    def padded(features: list[Any]) -> Any:
        batch = tokenizer.pad(features, padding="max_length", max_length=PADDED, return_tensors="pt")
        batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        return batch

    return Trainer(
        model=AutoModelForCausalLM.from_pretrained(folder / "model", dtype="float32"),
        args=TrainingArguments(**{"per_device_train_batch_size": STEP_POSTS} | options, bf16=kind == "trainer-bf16"),
        processing_class=tokenizer,
        train_dataset=rows,
        data_collator=padded if kind == "trainer-fp32" else collator,
    )


def _sft(folder: Path, texts: list[str], options: dict[str, Any]) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(
        model=str(folder / "model"),
        args=SFTConfig(
            packing=True,
            max_length=PACKED,
            per_device_train_batch_size=2,
            bf16=True,
            gradient_checkpointing=False,
            model_init_kwargs={"dtype": "float32"},
            **options,
        ),
        train_dataset=Dataset.from_dict({"text": texts}),
    )


def _clock() -> Any:
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.processor_seconds: list[float] = []
            self._began = self._began_processor = 0.0

        def on_step_begin(self, *arguments: Any, **keywords: Any) -> None:
            self._began, self._began_processor = time.perf_counter(), time.process_time()

        def on_step_end(self, *arguments: Any, **keywords: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.seconds.append(time.perf_counter() - self._began)
            self.processor_seconds.append(time.process_time() - self._began_processor)

    return Clock()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
