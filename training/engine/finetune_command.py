"""The command line of offline training, for machines with several devices and without Kilroy's database.

    torchrun --nproc_per_node 2 -m training.engine.finetune --base gpt2 --posts posts.jsonl --work work --out model \\
        --set learning_rate=1e-4 --set method=lora

A line of `posts.jsonl` is an object with `text` and, if wanted, `key`, `weight`, `author`, `community`, `topic` and
`context`; the last lines are held out. Metrics are printed as JSON lines by the first process. Interrupted, the same
command goes on from the last checkpoint in `--work`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import torch

from training.engine.distributed import Group
from training.engine.errors import EngineError
from training.engine.finetune import Finetune
from training.engine.types import CONDITIONS, Conditions, FinetuneConfig, TrainingPost

HELDOUT_SHARE = 0.1


def main(argv: list[str] | None = None) -> None:
    """See the module's docstring. Ends with a sentence and exit code 1 where the training cannot be done."""
    parser = argparse.ArgumentParser(prog="finetune", description="Fine-tune a language model on posts.")
    parser.add_argument("--base", required=True, help="starter, a model folder, or a name of the Hugging Face hub")
    parser.add_argument("--posts", type=Path, required=True, help="JSON lines with a text each, oldest first")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model with the lowest held-out loss")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="see FinetuneConfig")
    parser.add_argument("--precision", choices=("fastest", "float32"), default="fastest", help="of the products")
    args = parser.parse_args(argv)
    group = Group.join()
    try:
        _train(args, group)
    except (EngineError, ValueError, OSError) as problem:
        raise SystemExit(str(problem)) from problem
    finally:
        group.leave()


def _train(args: argparse.Namespace, group: Group) -> None:
    posts = [_post(json.loads(line)) for line in args.posts.read_text(encoding="utf-8").splitlines() if line.strip()]
    heldout = max(1, round(len(posts) * HELDOUT_SHARE))
    config = FinetuneConfig(**_settings(args.set))
    training = Finetune(args.base, posts[:-heldout], posts[-heldout:], config, args.work, group=group)
    if args.precision == "float32":
        training.model.compute = torch.float32

    def tell(step: int, metrics: Mapping[str, float]) -> None:
        if group.is_first:
            sys.stdout.write(json.dumps({"step": step, **metrics}) + "\n")
            sys.stdout.flush()

    report = training.run(lambda: False, tell)
    if group.is_first:
        training.finish(args.out)
        sys.stderr.write(f"{report.reason} The model of step {report.best_step} is in {args.out}.\n")


def _post(row: Mapping[str, Any]) -> TrainingPost:
    conditions = Conditions(**{name: str(row.get(name, "")) for name in CONDITIONS})
    return TrainingPost(str(row["text"]), str(row.get("key", "")), conditions, float(row.get("weight", 1.0)))


def _settings(given: Sequence[str]) -> dict[str, Any]:
    hints = get_type_hints(FinetuneConfig)
    settings: dict[str, Any] = {}
    for pair in given:
        name, _, value = pair.partition("=")
        if name not in hints:
            raise ValueError(f"There is no setting “{name}”. Known are: {', '.join(hints)}.")
        settings[name] = value == "true" if hints[name] is bool else hints[name](value)
    return settings
