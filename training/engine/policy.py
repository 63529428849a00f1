"""Policy and reference over the same written posts, and careful steps of the policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from training.engine import checkpoints
from training.engine.algorithms import Algorithm
from training.engine.algorithms.batch import LossParams, PolicyBatch, divergence, written
from training.engine.kl import must_stop, pull_back
from training.engine.models.causal import CausalLanguageModel
from training.engine.types import Metrics, Sample

CLIP_NORM = 1.0
MOMENTS = "adam.tensors"
_PREFIX = "adam"
_ROWS, _MEASURED_ROWS = 64, 16
_PULLS = 8

PULLED_BACK = (
    "The policy had drifted to {kl:.1f} nats a post, over twice what is allowed: pulled back to {share:.0%} of the way."
)
TOO_WILD = (
    "The policy's steps were left out: they took it to {kl:.1f} nats a post, where {limit:.1f} are allowed; pulling it "
    "back was not enough. The policy stays as it was; lower the learning rate."
)
RUINED = (
    "The policy's steps were left out: what they left behind was not a number. The policy stays as it was; lower the "
    "learning rate."
)


@dataclass(frozen=True)
class Step:
    """What came of a step; `metrics` describe the policy before it."""

    metrics: dict[str, float]
    outcome: Literal["taken", "enough", "too_far", "not_finite"]


@dataclass(frozen=True)
class Ending:
    """What a round's steps came to: `kl` in nats per post after them, and what people are told ("" when all is well).
    Not `kept`: the weights are of no use, the policy is to be as the round began.
    """

    kl: float
    said: str = ""
    kept: bool = True


def never(metrics: Metrics) -> bool:
    """A batch is good for all its steps."""
    return False


class PolicyTrainer:
    """Steps of Adam on `policy`, held against the frozen `reference`. Moments live for one round, unless they are kept
    beside the weights (`keep`) and gone on from (`resume`).
    """

    def __init__(
        self,
        policy: CausalLanguageModel,
        reference: CausalLanguageModel,
        algorithm: Algorithm,
        learning_rate: float,
        clip_norm: float | None,
    ) -> None:
        self.policy, self.reference = policy, reference
        self._loss = algorithm.loss()
        self._clip_norm = clip_norm
        self._parameters = [each for each in policy.network.parameters() if each.requires_grad]
        self._optimizer = torch.optim.Adam(self._parameters, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8)
        self._documents: Sequence[Document] = ()
        self.steps = 0

    def step(
        self, samples: Sequence[Sample], rewards: Sequence[float], params: LossParams, kl_target: float = math.inf
    ) -> Step:
        """One full-batch step on posts and their rewards. The weights are untouched when the loss or a gradient is not
        finite or the policy is further than twice `kl_target` nats per post from the reference.
        """
        return self._step(policy_batch(self.policy, self.reference, samples, rewards), params, kl_target)

    def steps_on(
        self,
        batch: PolicyBatch,
        params: LossParams,
        count: int,
        *,
        kl_target: float = math.inf,
        enough: Callable[[Metrics], bool] = never,
    ) -> list[Step]:
        """Up to `count` steps on one batch, with ratios to the policy as it was before the first; the last of the list
        says what ended them. `batch` comes from `policy_batch`.

        `enough` is asked of each step's metrics before the weights change; "enough" is the outcome then.
        """
        old = written(torch.log_softmax(batch.logits.detach(), dim=1), batch.tokens)
        done: list[Step] = []
        while len(done) < count and (not done or done[-1].outcome == "taken"):
            logits = batch.logits if not done else written_logits(self.policy, batch.documents)[0]
            done.append(self._step(replace(batch, logits=logits, old=old), params, kl_target, enough))
        return done

    def _step(
        self,
        batch: PolicyBatch,
        params: LossParams,
        kl_target: float,
        enough: Callable[[Metrics], bool] = never,
    ) -> Step:
        self._documents = batch.documents
        self._optimizer.zero_grad(set_to_none=True)
        loss, metrics = self._loss(batch, params)
        if not all(map(math.isfinite, metrics.values())):
            return Step(metrics, "not_finite")
        if must_stop(metrics["kl"], kl_target):
            return Step(metrics, "too_far")
        if enough(metrics):
            return Step(metrics, "enough")
        loss.backward()  # type: ignore[no-untyped-call]
        limit = math.inf if self._clip_norm is None else self._clip_norm
        if not torch.isfinite(torch.nn.utils.clip_grad_norm_(self._parameters, limit)):
            return Step(metrics, "not_finite")
        self._optimizer.step()
        self.steps += 1
        return Step(metrics, "taken")

    def settle(self, last: Step, kl_target: float) -> Ending:
        """Look once more at the weights that the steps, of which `last` was the last, left behind: a step only measures
        the policy before it. Nothing is drawn: KL is measured on the last step's posts.

        Beyond twice `kl_target` the policy is pulled back. Where that is not enough, it is to be as the round began,
        unless no step was taken: then it began too far away, and is pulled until it is near enough.
        """
        measured = last.outcome in ("too_far", "enough") and self._finite()
        kl = last.metrics["kl"] if measured else self._distance()
        if not math.isfinite(kl):
            return Ending(kl, RUINED, kept=False)
        if not must_stop(kl, kl_target):
            return Ending(kl)
        share, left = 1.0, kl
        for _ in range(1 if self.steps else _PULLS):
            share *= (nearer := pull_back(left, kl_target))
            self.move_towards_reference(nearer)
            if not must_stop(left := self._distance(), kl_target):
                break
        if must_stop(left, kl_target) and self.steps:
            return Ending(kl, TOO_WILD.format(kl=kl, limit=2 * kl_target), kept=False)
        return Ending(kl, PULLED_BACK.format(kl=kl, share=share))

    @torch.no_grad()
    def _distance(self) -> float:
        """KL(policy ‖ reference) in nats per post on the last step's posts; NaN where a weight is not a number."""
        if not self._finite():
            return math.nan
        total = 0.0
        for start in range(0, len(self._documents), _MEASURED_ROWS):
            rows = self._documents[start : start + _MEASURED_ROWS]
            own, frozen = (written_logits(model, rows)[0].log_softmax(dim=1) for model in (self.policy, self.reference))
            total += float(divergence(own, frozen).sum())
        return total / len(self._documents)

    def _finite(self) -> bool:
        return all(bool(torch.isfinite(each).all()) for each in self._parameters)

    def keep(self, folder: Path) -> None:
        """Leaves Adam's moments beside a model's weights: they are stored, and rolled back, with them."""
        checkpoints.write_tensors(folder / MOMENTS, checkpoints.pack_optimizer(_PREFIX, self._optimizer))

    def resume(self, folder: Path) -> None:
        """Goes on from the moments that `keep` left in a model's folder, if it did."""
        if (folder / MOMENTS).exists():
            checkpoints.unpack_optimizer(_PREFIX, self._optimizer, load_file(folder / MOMENTS))

    @torch.no_grad()
    def move_towards_reference(self, share: float) -> None:
        """Put the weights at `share` of the way from the reference to where they are."""
        for own, frozen in zip(self.policy.network.parameters(), self.reference.network.parameters(), strict=True):
            own.lerp_(frozen.to(own.dtype), 1.0 - share)


Document = tuple[list[int], list[int]]
"""A post as (context ids, written ids): the model reads the first and is judged on the second."""


def policy_batch(
    policy: CausalLanguageModel, reference: CausalLanguageModel, samples: Sequence[Sample], rewards: Sequence[float]
) -> PolicyBatch:
    """The batch an algorithm is handed. Posts without a written token are the caller's to leave out."""
    documents = [document_of(policy, sample) for sample in samples]
    with torch.no_grad():
        reference_logits, _, _ = written_logits(reference, documents)
    logits, tokens, owner = written_logits(policy, documents)
    return PolicyBatch(
        logits=logits,
        reference_logits=reference_logits,
        tokens=tokens,
        owner=owner,
        rewards=torch.tensor(list(rewards), dtype=torch.float32, device=logits.device),
        ended=torch.tensor([sample.ended for sample in samples], device=logits.device),
        documents=documents,
    )


def document_of(model: CausalLanguageModel, sample: Sample) -> Document:
    """A sample as the model reads and writes it, the end token included where it was written."""
    end = model.tokenizer.end_id
    own = [*sample.token_ids, end] if sample.ended else [*sample.token_ids]
    return [end, *model.tokenizer.encode(sample.prompt)], own


def published_sample(model: CausalLanguageModel, text: str, max_tokens: int) -> Sample:
    """A published text as the sample it once was; cut to what the model can read."""
    ids = model.tokenizer.encode(text)
    return Sample(text=text, token_ids=tuple(ids[:max_tokens]), logprob=0.0, ended=len(ids) <= max_tokens)


def written_logits(model: CausalLanguageModel, documents: Sequence[Document]) -> tuple[Tensor, Tensor, Tensor]:
    """float32 logits (T, V) at every written token of the documents, the tokens (T,) and the document of each (T,)."""
    width = max(len(context) + len(own) for context, own in documents) - 1
    ids = torch.zeros((len(documents), width), dtype=torch.long)
    at = torch.zeros((len(documents), width), dtype=torch.bool)
    tokens: list[int] = []
    for row, (context, own) in enumerate(documents):
        read = [*context, *own][:-1]
        ids[row, : len(read)] = torch.tensor(read)
        at[row, len(context) - 1 : len(read)] = True
        tokens.extend(own)
    owner = torch.arange(len(documents)).repeat_interleave(at.sum(dim=1))
    parts = []
    with model.autocast():
        # Padding is on the right, so the causal mask alone keeps it out.
        for start in range(0, len(documents), _ROWS):
            rows = slice(start, start + _ROWS)
            found = model.network(input_ids=ids[rows].to(model.device), use_cache=False).logits
            parts.append(found[at[rows].to(model.device)].float())
    return torch.cat(parts), torch.tensor(tokens, device=model.device), owner.to(model.device)
