"""Trains the starter model that ships with Kilroy, from nothing, and exports it complete with its model card.

    python -m training.engine.starter --corpus FILE --out training/starter --minutes 90

Interrupted, the same command goes on from its own checkpoint in `--work`. The schedule is a trapezoid (warm-up,
constant, linear decay; Hägele et al. 2024), by the clock with `--minutes` or by tokens with `--epochs`. Hidden matrices
are trained with Muon (Jordan et al. 2024), embeddings and vectors with AdamW. What is left out on purpose: more than
one device.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from safetensors.torch import load_file

from training.engine import checkpoints
from training.engine.models.loss import linear_cross_entropy
from training.engine.packing import PackedRows, collate, plan_rows
from training.engine.starter_corpus import TokenizedPosts, read_corpus
from training.engine.tokenizer import PostTokenizer, train_tokenizer

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

log = logging.getLogger("starter")

WARMUP, DECAY = 0.02, 0.3
CLIP_NORM = 1.0
FIRST_EXPORT_S = 240.0
PROGRESS = "progress.json"


@dataclass(frozen=True)
class Recipe:
    """The starter's shape and schedule. `rows` × `context` tokens make one step."""

    vocab_size: int = 8192
    width: int = 256
    layers: int = 6
    heads: int = 4
    positions: int = 256
    context: int = 128
    rows: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    optimizer: str = "muon"
    average: float = 0.995
    seed: int = 20130820


@dataclass
class Progress:
    """Where a training stands; kept in its checkpoints and, as progress.json, beside what it exports.

    `seconds` is time spent training, over all restarts; `earlier_…` is what the model it started from had behind it.
    """

    step: int = 0
    epoch: int = 0
    row: int = 0
    tokens: int = 0
    seconds: float = 0.0
    earlier_steps: int = 0
    earlier_tokens: int = 0
    earlier_seconds: float = 0.0

    def following(self) -> Progress:
        """The progress that a training which goes on from this one's model begins with: other orders of the posts."""
        return Progress(
            epoch=self.epoch + 1,
            earlier_steps=self.earlier_steps + self.step,
            earlier_tokens=self.earlier_tokens + self.tokens,
            earlier_seconds=self.earlier_seconds + self.seconds,
        )


def build_model(recipe: Recipe, end_id: int) -> GPT2LMHeadModel:
    """A GPT-2 with random weights. Every post starts at position 0: positions past the longest post stay untrained."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=recipe.vocab_size,
        n_embd=recipe.width,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        n_positions=recipe.positions,
        # The same function as gelu_new, in one kernel instead of eight.
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=end_id,
        eos_token_id=end_id,
    )
    torch.manual_seed(recipe.seed)
    model = GPT2LMHeadModel(config)
    # Short rows: the plain product beats the flash kernel on CPUs.
    model.set_attn_implementation("eager" if not torch.cuda.is_available() else "sdpa")
    return model


class StarterTraining:
    """One training of the starter: data order, model, optimizers, averages and checkpoints."""

    def __init__(
        self, recipe: Recipe, tokenizer: PostTokenizer, posts: TokenizedPosts, heldout: TokenizedPosts, device: str
    ) -> None:
        self.recipe, self.tokenizer, self.posts, self.heldout = recipe, tokenizer, posts, heldout
        self.device = torch.device(device)
        self.model = build_model(recipe, tokenizer.end_id)
        self.model.to(self.device)
        self.average = {k: v.detach().clone() for k, v in self.model.named_parameters()}
        self.optimizers = self._optimizers()
        self.progress = Progress()

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        recipe = self.recipe
        hidden = [p for n, p in self.model.named_parameters() if p.ndim == 2 and ".h." in n]
        others = [p for n, p in self.model.named_parameters() if not (p.ndim == 2 and ".h." in n)]
        adamw_only = recipe.optimizer == "adamw"
        tables = [p for p in others if p.ndim == 2] + (hidden if adamw_only else [])
        vectors = [p for p in others if p.ndim < 2]
        groups: list[dict[str, Any]] = [
            {"params": tables, "weight_decay": recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        adamw = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95), fused=True)
        if adamw_only:
            return [adamw]
        muon = torch.optim.Muon(
            hidden, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        return [muon, adamw]

    def loss(self, rows: PackedRows) -> torch.Tensor:
        """Mean nats per token over packed rows."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            hidden = self.model.transformer(
                input_ids=rows.input_ids.to(self.device),
                position_ids=rows.position_ids.to(self.device),
                use_cache=False,
            ).last_hidden_state
        flat = hidden.reshape(-1, hidden.shape[-1])
        targets = rows.targets.reshape(-1).to(self.device)
        return linear_cross_entropy(flat, cast(torch.Tensor, self.model.lm_head.weight), targets, torch.bfloat16)

    def batches(self) -> Iterator[PackedRows]:
        """Packed rows from where `progress` stands, epoch after epoch, each in its own order."""
        recipe, progress = self.recipe, self.progress
        while True:
            order = np.random.default_rng([recipe.seed, progress.epoch]).permutation(len(self.posts))
            plan = plan_rows(self.posts.input_lengths[order].tolist(), recipe.context)
            while progress.row + recipe.rows <= len(plan):
                rows = plan[progress.row : progress.row + recipe.rows]
                progress.row += recipe.rows
                documents = [[self.posts[int(order[i])] for i in row] for row in rows]
                yield collate(documents, recipe.context, self.tokenizer.end_id)
            progress.epoch, progress.row = progress.epoch + 1, 0

    def step(self, rows: PackedRows, done: float) -> float:
        """One optimizer step at the share `done` of the schedule; returns the loss."""
        factor = min(1.0, done / WARMUP + 1e-3, (1.0 - done) / DECAY)
        loss = self.loss(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.recipe.learning_rate * max(factor, 0.0)
            optimizer.step()
            optimizer.zero_grad()
        self.progress.step += 1
        self.progress.tokens += rows.scored_tokens
        current = dict(self.model.named_parameters())
        # A young average would remember the random start.
        weight = max(1.0 - self.recipe.average, 1.0 / self.progress.step)
        torch._foreach_lerp_(list(self.average.values()), [current[k].detach() for k in self.average], weight)
        return float(loss.detach())

    @torch.no_grad()
    def heldout_loss(self, limit: int | None = None) -> float:
        """Nats per token over the first `limit` held-out posts (all without one)."""
        count = min(len(self.heldout), limit or len(self.heldout))
        plan = plan_rows(self.heldout.input_lengths[:count].tolist(), self.recipe.context)
        nats, tokens = 0.0, 0
        for start in range(0, len(plan), self.recipe.rows):
            documents = [[self.heldout[i] for i in row] for row in plan[start : start + self.recipe.rows]]
            rows = collate(documents, self.recipe.context, self.tokenizer.end_id)
            nats += float(self.loss(rows)) * rows.scored_tokens
            tokens += rows.scored_tokens
        return nats / tokens

    @torch.no_grad()
    def use_average(self) -> None:
        """Puts the running average in the place of the weights."""
        for name, parameter in self.model.named_parameters():
            parameter.copy_(self.average[name])

    def save(self, work: Path) -> None:
        """A checkpoint of everything."""
        tensors = checkpoints.named("model", self.model.named_parameters())
        tensors |= checkpoints.named("average", self.average.items())
        for index, optimizer in enumerate(self.optimizers):
            tensors |= checkpoints.pack_optimizer(f"optimizer{index}", optimizer)
        checkpoints.save_checkpoint(work / "checkpoints", self.progress.step, tensors, vars(self.progress))

    @torch.no_grad()
    def resume(self, work: Path) -> None:
        """Goes back to the newest checkpoint in `work`, if there is one."""
        checkpoint = checkpoints.load_newest(work / "checkpoints")
        if checkpoint is None:
            return
        for name, parameter in self.model.named_parameters():
            parameter.copy_(checkpoint.tensors[f"model.{name}"])
            self.average[name].copy_(checkpoint.tensors[f"average.{name}"])
        for index, optimizer in enumerate(self.optimizers):
            checkpoints.unpack_optimizer(f"optimizer{index}", optimizer, checkpoint.tensors)
        self.progress = Progress(**checkpoint.state)
        log.info("resumed at step %d", self.progress.step)

    @torch.no_grad()
    def start_from(self, folder: Path) -> None:
        """Begins with the weights of an exported starter instead of random ones, its posts in another order."""
        weights = load_file(folder / "model.safetensors")
        for name, parameter in self.model.named_parameters():
            parameter.copy_(weights[name])
            self.average[name].copy_(weights[name])
        self.progress = Progress(**json.loads((folder / PROGRESS).read_text(encoding="utf-8"))).following()
        log.info("started from %s, %d tokens old", folder, self.progress.earlier_tokens)

    @torch.no_grad()
    def export(self, out: Path, *, averaged: bool) -> None:
        """The model and its tokenizer into `out`, weights in float16, each file replaced in one step."""
        aside = out.with_name(f".{out.name}.part")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        self.model.config.dtype = torch.float16
        self.model.config.save_pretrained(aside)
        self.tokenizer.save(aside)
        source = self.average if averaged else dict(self.model.named_parameters())
        checkpoints.write_tensors(aside / "model.safetensors", {k: v.half() for k, v in source.items()})
        checkpoints.write_text(aside / PROGRESS, json.dumps(asdict(self.progress), indent=2) + "\n")
        out.mkdir(parents=True, exist_ok=True)
        for path in sorted(aside.iterdir()):
            path.replace(out / path.name)
        aside.rmdir()
        log.info("exported step %d to %s", self.progress.step, out)


def train(training: StarterTraining, args: argparse.Namespace) -> None:
    """Runs the schedule to its end, leaving checkpoints in `args.work` and interim models in `args.out`."""
    progress = training.progress
    budget_s = args.minutes * 60 if args.minutes else math.inf
    budget_tokens = math.inf if args.minutes else args.epochs * training.posts.targets
    start = time.monotonic() - progress.seconds
    exported = logged = start + progress.seconds
    exported += FIRST_EXPORT_S - args.export_every
    losses: list[float] = []
    tokens = progress.tokens
    for rows in training.batches():
        done = max(progress.seconds / budget_s, progress.tokens / budget_tokens)
        if done >= 1.0:
            break
        losses.append(training.step(rows, done))
        now = time.monotonic()
        progress.seconds = now - start
        if not math.isfinite(losses[-1]):
            raise SystemExit("The loss is not a number: start again from the checkpoint with a lower --learning-rate.")
        if len(losses) == args.log_every:
            rate = (progress.tokens - tokens) / (now - logged)
            mean = sum(losses) / len(losses)
            log.info("step %d done %.3f loss %.4f tokens %d (%.0f/s)", progress.step, done, mean, progress.tokens, rate)
            losses, logged, tokens = [], now, progress.tokens
        if now - exported > args.export_every:
            training.save(args.work)
            training.export(args.out, averaged=True)
            log.info("held-out loss %.4f at step %d (1,000 posts)", training.heldout_loss(1000), progress.step)
            exported = time.monotonic()
    training.save(args.work)


def main(argv: list[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Train the starter model that ships with Kilroy.")
    parser.add_argument("--corpus", type=Path, required=True, help="community<TAB>text, one post a line")
    parser.add_argument("--exclude", type=Path, action="append", default=[], help="CSV whose texts must not be learned")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start-from", type=Path, help="an exported starter to go on from; its tokenizer is kept")
    parser.add_argument("--work", type=Path, default=Path("starter-work"), help="checkpoints and the tokenizer")
    parser.add_argument("--minutes", type=float, default=0.0, help="length of the schedule by the clock")
    parser.add_argument("--epochs", type=float, default=4.0, help="length of the schedule in passes, without --minutes")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default=Recipe.optimizer)
    parser.add_argument("--learning-rate", type=float, default=Recipe.learning_rate)
    parser.add_argument("--rows", type=int, default=0, help="rows of 128 tokens a step (default 32, 256 on cuda)")
    parser.add_argument("--export-every", type=float, default=900.0, help="seconds between interim exports")
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--limit", type=int, default=0, help="use only the first posts of the corpus")
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here. Leave --device out, or install a build of torch for your GPU.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = Recipe(
        rows=args.rows or (256 if args.device == "cuda" else Recipe.rows),
        optimizer=args.optimizer,
        learning_rate=args.learning_rate,
    )
    texts = read_corpus(args.corpus, args.exclude)
    texts = texts[: args.limit or len(texts)]
    heldout_texts, train_texts = texts[::100], [t for i, t in enumerate(texts) if i % 100]
    tokenizer = load_or_train_tokenizer(args.start_from or args.work / "tokenizer", train_texts, recipe.vocab_size)
    posts, heldout = TokenizedPosts(tokenizer, train_texts), TokenizedPosts(tokenizer, heldout_texts)
    log.info("%d posts, %d tokens an epoch; %d held out", len(posts), posts.targets, len(heldout))
    training = StarterTraining(recipe, tokenizer, posts, heldout, args.device)
    if args.start_from:
        training.start_from(args.start_from)
    training.resume(args.work)
    train(training, args)
    finish(training, args.out, heldout_texts)


def load_or_train_tokenizer(folder: Path, texts: list[str], vocab_size: int) -> PostTokenizer:
    """The tokenizer kept in `folder`, trained on `texts` first when there is none."""
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        train_tokenizer(texts, vocab_size=vocab_size).save(folder)
    return PostTokenizer(PreTrainedTokenizerFast.from_pretrained(folder))  # nosec B615 # a folder of ours


def finish(training: StarterTraining, out: Path, heldout_texts: list[str]) -> None:
    """Exports the better of the last and the averaged weights, then writes the model card beside them."""
    # Imported here so that a training that runs for hours writes the card as it is described at its end.
    from training.engine.starter_card import processor, write_card

    loss = training.heldout_loss()
    last = {k: v.detach().clone() for k, v in training.model.named_parameters()}
    training.use_average()
    averaged_loss = training.heldout_loss()
    if averaged_loss < loss:
        loss = averaged_loss
    else:
        for name, parameter in training.model.named_parameters():
            parameter.data.copy_(last[name])
    log.info("final held-out loss %.4f nats per token", loss)
    training.export(out, averaged=False)
    machine = torch.cuda.get_device_name() if training.device.type == "cuda" else processor()
    write_card(out, training.recipe, training.progress, training.posts, training.heldout, heldout_texts, loss, machine)


if __name__ == "__main__":
    main()
