"""Offline training: a base model learns the posts of a dataset, in slices that can be killed and resumed exactly.

    torchrun --nproc_per_node 2 -m training.engine.finetune --help

Everything random follows from (seed, step), never from what a process has drawn so far, so a run that was killed
and goes on from its checkpoint computes the same weights, bit for bit on CPUs, as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.engine import adapters, checkpoints, conditioning, memory, quarantine
from training.engine.batches import Batches
from training.engine.distributed import ALONE, Group
from training.engine.errors import NothingToTestOn, TrainingDiverged
from training.engine.guards import TextIndex
from training.engine.memorisation import measure
from training.engine.models.causal import CausalLanguageModel
from training.engine.optimizers import Optimizers, schedule
from training.engine.packing import PackedRows
from training.engine.quarantine import Quarantine
from training.engine.stepping import Halving, accumulate, compute_alone, measure_nats
from training.engine.types import FinetuneConfig, FinetuneReport, OnStep, SamplingParams, TrainingPost

OnSamples = Callable[[int, list[str]], None]

CHECKPOINT_EVERY_S = 60.0
SAMPLE_TOKENS = 64
MEMORISATION_SAMPLES = 16
"""Texts drawn at each evaluation: a batch of them takes little longer than the few that are shown."""
TIME, AUTHORS = "time", "authors"
"""The parts that are held out: the newest posts, and those of some authors."""


@dataclass
class _State:
    """What a checkpoint keeps besides tensors. `best_loss` is in nats per token; `stale` counts evaluations since."""

    fingerprint: str
    step: int = 0
    best_loss: float | None = None
    best_author_loss: float | None = None
    best_step: int = 0
    best_memorisation: dict[str, Any] = field(default_factory=dict)
    stale: int = 0
    reason: str = ""
    samples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    halving: Halving = field(default_factory=Halving)
    quarantined: dict[str, Any] = field(default_factory=dict)


class Finetune:
    """One offline training of `base_model` (`starter`, a folder or a hub name), kept in `workdir`.

    `heldout` are posts that say when to stop, `heldout_authors` further ones that are only measured. With a `group` of
    processes each computes its share; all are built and run alike, and the first writes the files.

    Raises `ValueError` when there is too little text, a pattern matches nothing, or `workdir` holds another training;
    `OutOfMemory` when the model is too large; `ModelUnavailable` and `CorruptWeights` as loading does.
    """

    def __init__(
        self,
        base_model: str | Path,
        train: Sequence[TrainingPost],
        heldout: Sequence[TrainingPost],
        config: FinetuneConfig,
        workdir: Path,
        heldout_authors: Sequence[TrainingPost] = (),
        group: Group = ALONE,
    ) -> None:
        train, heldout, authors = (
            [post for post in posts if post.text.strip()] for posts in (train, heldout, heldout_authors)
        )
        if len(train) < 2 or not heldout:
            raise ValueError(
                f"There are {len(train)} posts to train on and {len(heldout)} to test on; at least 2 and 1 are needed. "
                "Add posts to the dataset."
            )
        self.config, self.workdir, self._group = config, workdir, group
        memory.check(str(base_model), config)
        self.model = CausalLanguageModel.load(str(base_model))
        conditioning.teach(self.model, conditioning.chosen(config))
        adapters.prepare(self.model.network, config)
        described = [str(base_model), asdict(config), *([asdict(p) for p in ps] for ps in (train, heldout, authors))]
        self._batches = Batches(self.model, train, {TIME: heldout, AUTHORS: authors}, config)
        fingerprint = hashlib.sha256(json.dumps([*described, *self._batches.notes]).encode()).hexdigest()
        self._state = _State(fingerprint, notes=self._batches.notes, halving=Halving(config.micro_rows))
        self.total_steps = max(1, math.ceil(config.max_epochs * self._batches.plan.steps))
        self._training_texts = [post.text for post in train]
        self._index: TextIndex | None = None
        self._optimizers = Optimizers(self.model.network, config)
        self._best: dict[str, torch.Tensor] = {}
        self._quarantine = Quarantine(workdir, len(self._batches.posts))
        self._restore()

    def run(
        self, should_stop: Callable[[], bool], on_step: OnStep, on_samples: OnSamples | None = None
    ) -> FinetuneReport:
        """Trains until `should_stop()` (asked after every step), the last step or the early stop; saves a checkpoint.

        `on_step` gets loss, learning_rate, gradient_norm and tokens_per_second of each step. Of each evaluation, the
        first of them at step 0, it gets heldout_loss and perplexity, heldout_author_loss where authors are held out,
        and, where samples are drawn, memorised_rate, longest_shared_run and longest_shared_words. Raises
        `TrainingDiverged` when the loss is no longer a number, `OutOfMemory` when no smaller batch helps, and
        `NothingToTestOn` when every held-out post had to be left out.
        """
        group, state = self._group, self._state

        def stop() -> bool:
            return bool(group.largest(int(group.is_first and should_stop())))

        if state.reason or not self._find_killer(stop):
            return self.report()
        if state.step == 0:
            self._evaluate(on_step, on_samples)
        saved = time.monotonic()
        while not state.reason:
            on_step(state.step + 1, self._train_step())
            if state.step % self.config.evaluate_every == 0 or state.step == self.total_steps:
                self._evaluate(on_step, on_samples)
            if not state.reason and stop():
                break
            if time.monotonic() - saved > CHECKPOINT_EVERY_S:
                self._save()
                saved = time.monotonic()
        self._save()
        if group.is_first:
            self._quarantine.end()
        return self.report()

    def report(self) -> FinetuneReport:
        """Where the training stands."""
        state = self._state
        return FinetuneReport(
            step=state.step,
            total_steps=self.total_steps,
            finished=bool(state.reason),
            best_heldout_loss=state.best_loss,
            best_heldout_author_loss=state.best_author_loss,
            best_step=state.best_step,
            samples=state.samples,
            reason=state.reason,
            quarantined={self._batches.name(n): entry.reason for n, entry in self._quarantine.entries.items()},
            memorisation=state.best_memorisation,
            notes=state.notes,
            micro_rows=state.halving.rows,
            halvings=state.halving.times,
        )

    @torch.no_grad()
    def finish(self, folder: Path) -> str:
        """Saves the weights with the lowest held-out loss as a model folder; returns their SHA-256."""
        kept = self._copy()
        self._put(self._best or kept)
        try:
            with adapters.merged(self.model.network):
                return self.model.save(folder)
        finally:
            self._put(kept)

    def _train_step(self) -> dict[str, float]:
        started, state, config = time.monotonic(), self._state, self.config
        rows = self._batches.step(state.step, self._left_out)
        if self._group.is_first:
            self._quarantine.begin(state.step, [number for row in rows for number in row])
        packed = self._batches.tensors(rows)
        tokens = packed.scored_tokens
        loss, norm, problem = self._gradient(packed)
        if problem is not None or not (math.isfinite(loss) and math.isfinite(norm)):
            self._optimizers.forget_gradients()
            if self._blame(rows, self._gradient_alone):
                return self._train_step()
            raise problem or TrainingDiverged(
                f"The loss stopped being a number at step {state.step + 1}. "
                f"Start the training again with a learning rate below {config.learning_rate:g}."
            )
        learning_rate = config.learning_rate * schedule(config, state.step, self.total_steps)
        if tokens:
            self._optimizers.step(learning_rate)
        state.step += 1
        return {
            "loss": loss,
            "learning_rate": learning_rate,
            "gradient_norm": norm,
            "tokens_per_second": tokens / max(time.monotonic() - started, 1e-9),
        } | ({"micro_rows": float(state.halving.rows)} if state.halving.times else {})

    def _gradient(self, rows: PackedRows) -> tuple[float, float, Exception | None]:
        """Loss and gradient norm of a step, and what broke it off. The gradients, clipped, are in the parameters."""
        group = self._group
        mine, tokens = rows[group.rank :: group.size], rows.scored_tokens

        def compute(at_once: int) -> float:
            # Dropout, where a model has it, must not depend on what the process drew before.
            torch.manual_seed(_mix(self.config.seed, self._state.step) + group.rank)
            return accumulate(self.model, mine, tokens, at_once)

        part, problem = self._in_memory(compute, len(rows[:: group.size]))
        if problem is not None:
            return math.nan, math.nan, problem
        group.sum_gradients(self._optimizers.trained.values())
        norm = torch.nn.utils.clip_grad_norm_(
            self._optimizers.trained.values(), self.config.clip_norm or math.inf, foreach=True
        )
        return group.total(part)[0], float(norm), None

    def _in_memory(self, compute: Callable[[int], float], most_rows: int) -> tuple[float, Exception | None]:
        """What `compute` returns, told how many rows fit into memory at once, and what broke it off, in any process."""
        state = self._state
        while True:
            found, problem = math.nan, None
            try:
                found = compute(state.halving.rows)
            except Exception as error:
                problem = error
            trouble = self._group.largest(0 if problem is None else 1 if memory.ran_out(problem) else 2)
            if trouble == 0:
                return found, None
            if trouble == 2:
                return math.nan, problem or RuntimeError("Another process of this training broke off.")
            self._optimizers.forget_gradients()
            state.halving = state.halving.again(most_rows, problem)
            state.notes += (state.halving.note(state.step + 1),)

    def _left_out(self, number: int) -> bool:
        return self._quarantine.holds(number, self._state.step)

    def _blame(self, rows: Sequence[Sequence[int]], compute: quarantine.Compute) -> bool:
        """Puts the posts of these rows that break `compute` alone into quarantine. Returns whether there were any."""
        numbers = [number for row in rows for number in row]
        others = (number for number in range(len(self._batches.posts)) if number not in numbers)
        witness = next(others, numbers[0])
        found = self._group.from_first(lambda: quarantine.find(numbers, witness, self._state.step, compute))
        self._quarantine.add(found)
        if self._group.is_first:
            self._quarantine.save()
        return bool(found)

    def _find_killer(self, stop: Callable[[], bool]) -> bool:
        """Looks at the step that the process before died in. False when `stop` ended that early."""
        if self._group.size == 1:
            return self._quarantine.after_death(self._alone, stop)
        # The first process looks alone, and must not ask the others meanwhile whether to stop.
        done = self._group.from_first(lambda: self._quarantine.after_death(self._alone, lambda: False))
        self._quarantine.add(self._group.from_first(lambda: self._quarantine.entries))
        return done

    def _alone(self, number: int) -> float:
        return (self._loss_alone if self._batches.is_heldout(number) else self._gradient_alone)(number)

    def _gradient_alone(self, number: int) -> float:
        torch.manual_seed(_mix(self.config.seed, self._state.step))
        try:
            return compute_alone(self.model, self._batches.alone(number), self._optimizers.trained.values())
        finally:
            self._optimizers.forget_gradients()

    def _loss_alone(self, number: int) -> float:
        return measure_nats(self.model, self._batches.alone(number), 0)

    def _evaluate(self, on_step: OnStep, on_samples: OnSamples | None) -> None:
        state = self._state
        memorised: dict[str, Any] = {}
        with adapters.merged(self.model.network):
            loss = self.heldout_loss()
            authors = self.heldout_loss(AUTHORS)
            metrics = {"heldout_loss": loss, "perplexity": math.exp(min(loss, 700.0))}
            if not math.isnan(authors):
                metrics["heldout_author_loss"] = authors
            if self.config.samples_per_evaluation and self._group.is_first:
                measured = self._sample(on_samples)
                memorised = measured.as_json() | {"step": state.step}
                metrics |= measured.metrics
        on_step(state.step, metrics)
        if state.best_loss is None or loss < state.best_loss:
            state.best_loss, state.best_step, state.stale = loss, state.step, 0
            state.best_author_loss = metrics.get("heldout_author_loss")
            state.best_memorisation = memorised
            self._best = self._copy()
        else:
            state.stale += 1
        if state.step >= self.total_steps:
            state.reason = f"All {self.total_steps} steps are done."
        elif state.stale >= self.config.patience:
            state.reason = f"The held-out loss has not improved for {state.stale} evaluations."

    def _sample(self, on_samples: OnSamples | None) -> Any:
        """Draws texts, shows the first of them, and measures what all of them have in common with the training's."""
        state, shown = self._state, self.config.samples_per_evaluation
        params = SamplingParams(max_new_tokens=SAMPLE_TOKENS, seed=_mix(self.config.seed, state.step))
        drawn = self.model.generate([""] * max(shown, MEMORISATION_SAMPLES), params)
        self.model.forget_ready()  # the next step changes the weights
        state.samples = tuple(sample.text for sample in drawn[:shown])
        if on_samples is not None:
            on_samples(state.step, list(state.samples))
        if self._index is None:
            self._index = TextIndex(self._training_texts)
        return measure([sample.text for sample in drawn], self._index)

    def heldout_loss(self, part: str = TIME) -> float:
        """Nats per token of the present weights over the posts that a part holds out; NaN when it holds out none.
        Raises `NothingToTestOn` when the newest posts are all in quarantine.
        """
        batches = self._batches.heldout(part, self._left_out)
        if not batches:
            if part == TIME:
                raise NothingToTestOn(self.report().quarantined)
            return math.nan
        loss, problem = self._mean_loss(batches)
        if math.isfinite(loss):
            return loss
        if self._blame([row for batch in batches for row in batch], self._loss_alone):
            return self.heldout_loss(part)
        raise problem or TrainingDiverged(
            f"The held-out loss is not a number at step {self._state.step}. "
            f"Start the training again with a learning rate below {self.config.learning_rate:g}."
        )

    def _mean_loss(self, batches: Sequence[Sequence[Sequence[int]]]) -> tuple[float, Exception | None]:
        """Nats per token over the batches, and what broke it off; one batch a process at a time."""
        group = self._group
        nats, tokens = 0.0, 0
        for first in range(0, len(batches), group.size):
            together = batches[first : first + group.size]
            if group.is_first:
                self._quarantine.begin(self._state.step, [number for b in together for row in b for number in row])
            rows = self._batches.tensors(next(iter(together[group.rank :]), []))
            part, problem = self._in_memory(partial(measure_nats, self.model, rows), len(together[0]))
            if problem is not None:
                return math.nan, problem
            nats += part
            tokens += rows.scored_tokens
        nats, count = group.total(nats, tokens)
        return nats / count, None

    def _save(self) -> None:
        state = self._state
        if not self._group.is_first:
            return
        tensors = checkpoints.named("model", self._optimizers.trained.items())
        tensors |= self._optimizers.pack()
        if state.best_step != state.step:
            tensors |= checkpoints.named("best", self._best.items())
        state.quarantined = self._quarantine.as_json()
        checkpoints.save_checkpoint(self.workdir / "checkpoints", state.step, tensors, asdict(state))

    def _restore(self) -> None:
        checkpoint = checkpoints.load_newest(self.workdir / "checkpoints")
        if checkpoint is None:
            return
        if checkpoint.state.get("fingerprint") != self._state.fingerprint:
            raise ValueError(
                f"{self.workdir} holds the training of other posts, another model or other settings. "
                "Start this training in a folder of its own."
            )
        self._quarantine.restore(checkpoint.state.get("quarantined"))
        state = _State(**checkpoint.state)
        notes = (*state.notes, *(_damage(step, checkpoint.step) for step in checkpoint.damaged))
        halving = Halving(**checkpoint.state["halving"])
        self._state = replace(state, samples=tuple(state.samples), notes=notes, halving=halving)
        self._put(checkpoints.under("model", checkpoint.tensors))
        self._optimizers.unpack(checkpoint.tensors)
        self._best = checkpoints.under("best", checkpoint.tensors) or self._copy()

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self._optimizers.trained.items()}

    @torch.no_grad()
    def _put(self, weights: dict[str, torch.Tensor]) -> None:
        for name, parameter in self._optimizers.trained.items():
            parameter.copy_(weights[name])


def _mix(seed: int, step: int) -> int:
    """One 63-bit seed of two numbers, neighbouring steps far apart."""
    return int(np.random.SeedSequence([seed % 2**64, step]).generate_state(1, np.uint64)[0]) >> 1


def _damage(step: int, used: int) -> str:
    return f"The checkpoint of step {step} was damaged, so the training went on from the one before it, of step {used}."


if __name__ == "__main__":
    from training.engine.finetune_command import main

    main()
