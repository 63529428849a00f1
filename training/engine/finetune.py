"""Offline training: a base model learns the posts of a dataset, in slices that can be killed and resumed exactly.

Everything random follows from (seed, step), never from what a process has drawn so far, so a run that was killed
and goes on from its checkpoint computes the same weights, bit for bit on CPUs, as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from training.engine import checkpoints
from training.engine.errors import TrainingDiverged
from training.engine.models.causal import CausalLanguageModel
from training.engine.packing import PackedRows, collate, plan_rows
from training.engine.types import FinetuneConfig, FinetuneReport, OnStep, SamplingParams

OnSamples = Callable[[int, list[str]], None]

CHECKPOINT_EVERY_S = 60.0
WIDTH_STEP = 32
SAMPLE_TOKENS = 64


@dataclass
class _State:
    """What a checkpoint keeps besides tensors. `best_loss` is in nats per token; `stale` counts evaluations since."""

    fingerprint: str
    step: int = 0
    best_loss: float | None = None
    best_step: int = 0
    stale: int = 0
    reason: str = ""
    samples: tuple[str, ...] = ()


class Finetune:
    """One offline training of `base_model` (`starter`, a folder or a hub name), kept in `workdir`.

    Raises `ValueError` when there is too little text, or when `workdir` holds another training; `ModelUnavailable` and
    `CorruptWeights` as loading does.
    """

    def __init__(
        self,
        base_model: str | Path,
        train_texts: Sequence[str],
        heldout_texts: Sequence[str],
        config: FinetuneConfig,
        workdir: Path,
    ) -> None:
        train, heldout = [t for t in train_texts if t.strip()], [t for t in heldout_texts if t.strip()]
        if len(train) < 2 or not heldout:
            raise ValueError(
                f"There are {len(train)} posts to train on and {len(heldout)} to test on; at least 2 and 1 are needed. "
                "Add posts to the dataset."
            )
        self.config, self.workdir = config, workdir
        self.model = CausalLanguageModel.load(str(base_model))
        described = json.dumps([str(base_model), asdict(config), train, heldout])
        self._state = _State(hashlib.sha256(described.encode()).hexdigest())
        self._rows, self.width = _pack_once(self.model, train, config)
        self._heldout = _heldout_batches(self.model, heldout, config, self.width)
        self.rows_per_step = _rows_per_step(config, self.width)
        self._steps_per_epoch = math.ceil(len(self._rows) / self.rows_per_step)
        self.total_steps = max(1, math.ceil(config.max_epochs * self._steps_per_epoch))
        self._optimizer = _optimizer(self.model, config)
        self._best: dict[str, torch.Tensor] = {}
        self._restore()

    def run(
        self, should_stop: Callable[[], bool], on_step: OnStep, on_samples: OnSamples | None = None
    ) -> FinetuneReport:
        """Trains until `should_stop()` (asked after every step), the last step or the early stop; saves a checkpoint.

        `on_step` gets loss, learning_rate, gradient_norm and tokens_per_second of each step, and heldout_loss and
        perplexity of each evaluation, the first of them at step 0. Raises `TrainingDiverged` when the loss is no
        longer a number.
        """
        state = self._state
        if state.reason:
            return self.report()
        if state.step == 0:
            self._evaluate(on_step, on_samples)
        saved = time.monotonic()
        while not state.reason:
            on_step(state.step + 1, self._train_step())
            if state.step % self.config.evaluate_every == 0 or state.step == self.total_steps:
                self._evaluate(on_step, on_samples)
            if not state.reason and should_stop():
                break
            if time.monotonic() - saved > CHECKPOINT_EVERY_S:
                self._save()
                saved = time.monotonic()
        self._save()
        return self.report()

    def report(self) -> FinetuneReport:
        """Where the training stands."""
        state = self._state
        return FinetuneReport(
            step=state.step,
            total_steps=self.total_steps,
            finished=bool(state.reason),
            best_heldout_loss=state.best_loss,
            best_step=state.best_step,
            samples=state.samples,
            reason=state.reason,
        )

    @torch.no_grad()
    def finish(self, folder: Path) -> str:
        """Saves the weights with the lowest held-out loss as a model folder; returns their SHA-256."""
        kept = {name: w.clone() for name, w in self.model.weights().items()}
        self._put(self._best or kept)
        try:
            return self.model.save(folder)
        finally:
            self._put(kept)

    def _train_step(self) -> dict[str, float]:
        started, state, config = time.monotonic(), self._state, self.config
        rows = self._batch(state.step)
        learning_rate = config.learning_rate * self._schedule(state.step)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        # Dropout, where a model has it, must not depend on what the process drew before.
        torch.manual_seed(_mix(config.seed, state.step))
        self.model.network.train()
        loss = self.model.loss(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.network.parameters(), config.clip_norm))
        if not (math.isfinite(float(loss.detach())) and math.isfinite(norm)):
            raise TrainingDiverged(
                f"The loss stopped being a number at step {state.step + 1}. "
                f"Start the training again with a learning rate below {config.learning_rate:g}."
            )
        self._optimizer.step()
        self._optimizer.zero_grad()
        state.step += 1
        return {
            "loss": float(loss.detach()),
            "learning_rate": learning_rate,
            "gradient_norm": norm,
            "tokens_per_second": rows.scored_tokens / max(time.monotonic() - started, 1e-9),
        }

    def _schedule(self, step: int) -> float:
        """Share of the peak learning rate: linear warm-up, then linear decay towards 0 at the last step."""
        warmup = min(self.config.warmup_steps, max(self.total_steps // 5, 1))
        return min((step + 1) / warmup, (self.total_steps - step) / max(self.total_steps - warmup, 1))

    def _batch(self, step: int) -> PackedRows:
        epoch, at = divmod(step, self._steps_per_epoch)
        order = np.random.default_rng([self.config.seed, epoch]).permutation(len(self._rows))
        chosen = order[at * self.rows_per_step : (at + 1) * self.rows_per_step]
        return collate([self._rows[int(i)] for i in chosen], self.width, self.model.tokenizer.end_id)

    def _evaluate(self, on_step: OnStep, on_samples: OnSamples | None) -> None:
        state = self._state
        loss = self.heldout_loss()
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"The held-out loss is not a number at step {state.step}. "
                f"Start the training again with a learning rate below {self.config.learning_rate:g}."
            )
        on_step(state.step, {"heldout_loss": loss, "perplexity": math.exp(min(loss, 700.0))})
        if state.best_loss is None or loss < state.best_loss:
            state.best_loss, state.best_step, state.stale = loss, state.step, 0
            self._best = {name: w.clone() for name, w in self.model.weights().items()}
        else:
            state.stale += 1
        if self.config.samples_per_evaluation:
            params = SamplingParams(max_new_tokens=SAMPLE_TOKENS, seed=_mix(self.config.seed, state.step))
            drawn = self.model.generate([""] * self.config.samples_per_evaluation, params)
            state.samples = tuple(sample.text for sample in drawn)
            if on_samples is not None:
                on_samples(state.step, list(state.samples))
        if state.step >= self.total_steps:
            state.reason = f"All {self.total_steps} steps are done."
        elif state.stale >= self.config.patience:
            state.reason = f"The held-out loss has not improved for {state.stale} evaluations."

    @torch.no_grad()
    def heldout_loss(self) -> float:
        """Nats per token of the present weights over the held-out rows."""
        self.model.network.eval()
        counts = [rows.scored_tokens for rows in self._heldout]
        total = sum(float(self.model.loss(rows)) * n for rows, n in zip(self._heldout, counts, strict=True))
        return total / sum(counts)

    def _save(self) -> None:
        state = self._state
        tensors = checkpoints.named("model", self.model.weights().items())
        tensors |= checkpoints.pack_optimizer("optimizer", self._optimizer)
        if state.best_step != state.step:
            tensors |= checkpoints.named("best", self._best.items())
        checkpoints.save_checkpoint(self.workdir / "checkpoints", state.step, tensors, asdict(state))

    def _restore(self) -> None:
        checkpoint = checkpoints.load_newest(self.workdir / "checkpoints")
        if checkpoint is None:
            return
        state = _State(**checkpoint.state)
        if state.fingerprint != self._state.fingerprint:
            raise ValueError(
                f"{self.workdir} holds the training of other posts, another model or other settings. "
                "Start this training in a folder of its own."
            )
        self._state = replace(state, samples=tuple(state.samples))
        self._put(checkpoints.under("model", checkpoint.tensors))
        checkpoints.unpack_optimizer("optimizer", self._optimizer, checkpoint.tensors)
        self._best = checkpoints.under("best", checkpoint.tensors) or {
            name: w.clone() for name, w in self.model.weights().items()
        }

    @torch.no_grad()
    def _put(self, weights: dict[str, torch.Tensor]) -> None:
        for name, parameter in self.model.network.named_parameters():
            parameter.copy_(weights[name])


def _mix(seed: int, step: int) -> int:
    """One 63-bit seed of two numbers, neighbouring steps far apart."""
    return int(np.random.SeedSequence([seed % 2**64, step]).generate_state(1, np.uint64)[0]) >> 1


def _rows_per_step(config: FinetuneConfig, width: int) -> int:
    return max(1, config.rows_per_step * config.context // width)


def _pack_once(
    model: CausalLanguageModel, texts: Sequence[str], config: FinetuneConfig
) -> tuple[list[list[list[int]]], int]:
    """The documents of each row, and the rows' width.

    Rows are as narrow as the longest post allows, and more of them make a step: the same tokens, less
    attention computed only to be masked away.
    """
    documents = model.tokenizer.documents(texts)
    order = np.random.default_rng(config.seed).permutation(len(documents))
    shuffled = [documents[int(i)] for i in order]
    limit = min(config.context, model.positions)
    longest = max(len(d) - 1 for d in shuffled)
    width = min(limit, math.ceil(longest / WIDTH_STEP) * WIDTH_STEP)
    return _rows(shuffled, width), width


def _rows(documents: list[list[int]], width: int) -> list[list[list[int]]]:
    plan = plan_rows([len(d) - 1 for d in documents], width)
    return [[documents[i] for i in row] for row in plan]


def _heldout_batches(
    model: CausalLanguageModel, texts: Sequence[str], config: FinetuneConfig, width: int
) -> list[PackedRows]:
    size = _rows_per_step(config, width)
    limit = max(1, config.heldout_rows * config.context // width)
    rows = _rows(model.tokenizer.documents(texts), width)[:limit]
    return [collate(rows[i : i + size], width, model.tokenizer.end_id) for i in range(0, len(rows), size)]


def _optimizer(model: CausalLanguageModel, config: FinetuneConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019) with weight decay on matrices only."""
    parameters = list(model.network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=True)
