"""Policy and reference over the same written posts, and one careful step of the policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from training.engine.algorithms import Algorithm
from training.engine.algorithms.batch import LossParams, PolicyBatch
from training.engine.models.causal import CausalLanguageModel
from training.engine.types import Sample

CLIP_NORM = 1.0
_ROWS = 64


@dataclass(frozen=True)
class Step:
    """What came of a step; `metrics` describe the policy before it."""

    metrics: dict[str, float]
    outcome: Literal["taken", "too_far", "not_finite"]


class PolicyTrainer:
    """Steps of Adam on `policy`, held against the frozen `reference`. Moments live for one round."""

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
        self.steps = 0

    def step(
        self, samples: Sequence[Sample], rewards: Sequence[float], params: LossParams, kl_limit: float = math.inf
    ) -> Step:
        """One full-batch step on posts and their rewards. The weights are untouched when the loss or a gradient is not
        finite or the policy is further than `kl_limit` nats per post from the reference.
        """
        self._optimizer.zero_grad(set_to_none=True)
        loss, metrics = self._loss(policy_batch(self.policy, self.reference, samples, rewards), params)
        if not all(map(math.isfinite, metrics.values())):
            return Step(metrics, "not_finite")
        if metrics["kl"] > kl_limit:
            return Step(metrics, "too_far")
        loss.backward()  # type: ignore[no-untyped-call]
        limit = math.inf if self._clip_norm is None else self._clip_norm
        if not torch.isfinite(torch.nn.utils.clip_grad_norm_(self._parameters, limit)):
            return Step(metrics, "not_finite")
        self._optimizer.step()
        self.steps += 1
        return Step(metrics, "taken")

    @torch.no_grad()
    def move_towards_reference(self, share: float) -> None:
        """Put the weights at `share` of the way from the reference to where they are."""
        for own, frozen in zip(self.policy.network.parameters(), self.reference.network.parameters(), strict=True):
            own.lerp_(frozen.to(own.dtype), 1.0 - share)


def policy_batch(
    policy: CausalLanguageModel, reference: CausalLanguageModel, samples: Sequence[Sample], rewards: Sequence[float]
) -> PolicyBatch:
    """The batch an algorithm is handed. Posts without a written token are the caller's to leave out."""
    documents = [_document(policy, sample) for sample in samples]
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
    )


Document = tuple[list[int], list[int]]
"""A post as (context ids, written ids): the model reads the first and is judged on the second."""


def _document(model: CausalLanguageModel, sample: Sample) -> Document:
    end = model.tokenizer.end_id
    written = [*sample.token_ids, end] if sample.ended else [*sample.token_ids]
    return [end, *model.tokenizer.encode(sample.prompt)], written


def published_sample(model: CausalLanguageModel, text: str, max_tokens: int) -> Sample:
    """A published text as the sample it once was; cut to what the model can read."""
    ids = model.tokenizer.encode(text)
    return Sample(text=text, token_ids=tuple(ids[:max_tokens]), logprob=0.0, ended=len(ids) <= max_tokens)


def written_logits(model: CausalLanguageModel, documents: Sequence[Document]) -> tuple[Tensor, Tensor, Tensor]:
    """float32 logits (T, V) at every written token of the documents, the tokens (T,) and the document of each (T,)."""
    width = max(len(context) + len(written) for context, written in documents) - 1
    ids = torch.zeros((len(documents), width), dtype=torch.long)
    at = torch.zeros((len(documents), width), dtype=torch.bool)
    tokens: list[int] = []
    for row, (context, written) in enumerate(documents):
        read = [*context, *written][:-1]
        ids[row, : len(read)] = torch.tensor(read)
        at[row, len(context) - 1 : len(read)] = True
        tokens.extend(written)
    owner = torch.arange(len(documents)).repeat_interleave(at.sum(dim=1))
    parts = []
    with model.autocast():
        # Padding is on the right, so the causal mask alone keeps it out.
        for start in range(0, len(documents), _ROWS):
            rows = slice(start, start + _ROWS)
            found = model.network(input_ids=ids[rows].to(model.device), use_cache=False).logits
            parts.append(found[at[rows].to(model.device)].float())
    return torch.cat(parts), torch.tensor(tokens, device=model.device), owner.to(model.device)
