"""One token per row from its logits: what may be drawn, and which of it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from training.engine.types import LEAST_TEMPERATURE, SamplingParams

BLOCK = 64
"""Tokens per block of the two-level search in `_invert`."""

NUCLEUS = 512
"""So many of the most probable tokens are looked at first for top-p: sorting a vocabulary is slow."""


def check(params: SamplingParams) -> None:
    """Raises `ValueError` for parameters out of range."""
    if not LEAST_TEMPERATURE <= params.temperature < float("inf"):
        raise ValueError(f"Sampling needs a temperature of {LEAST_TEMPERATURE} or more.")
    if not 0 < params.top_p <= 1 or params.top_k < 0 or params.max_new_tokens < 1:
        raise ValueError(
            "Sampling needs a top-p above 0 and at most 1, a top-k of 0 (off) or more, and at least one new token."
        )
    if not 0 <= params.min_p <= 1 or not 1 <= params.repetition_penalty < float("inf"):
        raise ValueError("Sampling needs a min-p from 0 (off) to 1 and a repetition penalty of 1 (off) or more.")


def stream(params: SamplingParams, index: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The numbers in [0, 1) that decide sample `index` of a request: [max_new_tokens]."""
    generator = np.random.Generator(np.random.Philox(key=[params.seed % 2**64, index]))
    return generator.random(params.max_new_tokens)


@dataclass(frozen=True)
class Filters:
    """How each row of a batch is drawn: one column per parameter, float32 or int64 [rows]; None where it is off in all
    of them.
    """

    temperature: torch.Tensor | None
    top_k: torch.Tensor | None
    top_p: torch.Tensor | None
    min_p: torch.Tensor | None
    repetition_penalty: torch.Tensor | None

    @classmethod
    def of(cls, rows: Sequence[SamplingParams], device: torch.device) -> Filters:
        """The filters of a batch whose rows are drawn with `rows`."""

        def column(values: Sequence[float], off: float) -> torch.Tensor | None:
            return None if all(value == off for value in values) else torch.tensor(values, device=device)

        return cls(
            temperature=column([row.temperature for row in rows], 1.0),
            top_k=column([row.top_k for row in rows], 0),
            top_p=column([row.top_p for row in rows], 1.0),
            min_p=column([row.min_p for row in rows], 0.0),
            repetition_penalty=column([row.repetition_penalty for row in rows], 1.0),
        )


def pick(
    logits: torch.Tensor, uniforms: torch.Tensor, filters: Filters, written: Sequence[Sequence[int]] = ()
) -> tuple[torch.Tensor, torch.Tensor]:
    """A token per row and its log-probability at temperature 1 without filters, in nats.

    `logits` float32 [rows, vocabulary], `uniforms` float64 [rows] in [0, 1), `written` each row's own tokens, which the
    repetition penalty looks at. Order of the filters: repetition penalty, temperature, top-k, top-p, min-p; each sees
    what the one before it has left. Where a row's logits leave nothing to draw from, because one of them is not a
    number or infinite, its log-probability is NaN; the other rows are not touched.
    """
    policy = torch.softmax(logits, dim=-1)
    changed = logits
    if filters.repetition_penalty is not None:
        changed = _penalised(changed, filters.repetition_penalty, written)
    if filters.temperature is not None:
        changed = changed / filters.temperature[:, None]
    probs = policy if changed is logits else torch.softmax(changed, dim=-1)
    if filters.top_k is not None:
        probs = _top_k(probs, filters.top_k)
    if filters.top_p is not None:
        probs = _top_p(probs, filters.top_p)
    if filters.min_p is not None:
        probs = probs.where(probs >= filters.min_p[:, None] * probs.amax(dim=-1, keepdim=True), 0.0)
    tokens = _invert(probs, uniforms)
    drawn = probs.gather(1, tokens[:, None])[:, 0] > 0  # a row without numbers has no token that may be drawn
    return tokens, _logprob(policy, logits, tokens).where(drawn, torch.nan)


def _logprob(policy: torch.Tensor, logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of `tokens` [rows]; through the logits where the probability is too small for float32."""
    found = policy.gather(1, tokens[:, None])[:, 0].log()
    if bool((found < -80).any()):  # a filter can leave only tokens that the policy hardly ever draws
        found = torch.log_softmax(logits, dim=-1).gather(1, tokens[:, None])[:, 0]
    return found


def _penalised(logits: torch.Tensor, penalty: torch.Tensor, written: Sequence[Sequence[int]]) -> torch.Tensor:
    """Logits of tokens that a row has written already, divided by its penalty where positive, else multiplied (CTRL,
    Keskar et al. 2019, with the sign's case as every implementation has it).
    """
    seen = torch.zeros_like(logits, dtype=torch.bool)
    for row, tokens in enumerate(written):
        if tokens:
            seen[row, torch.tensor(list(tokens), device=logits.device)] = True
    by = penalty[:, None]
    return torch.where(seen, torch.where(logits > 0, logits / by, logits * by), logits)


def _top_k(probs: torch.Tensor, top_k: torch.Tensor) -> torch.Tensor:
    """The k most probable tokens of each row, as probabilities again; 0 keeps all. Ties with the last are kept."""
    vocabulary = probs.shape[-1]
    wanted = torch.where((top_k > 0) & (top_k < vocabulary), top_k, 0)
    most = int(wanted.max())
    if most == 0:
        return probs
    best = torch.topk(probs, most, dim=-1).values
    last = best.gather(1, (wanted - 1).clamp(min=0)[:, None])
    kept = probs.where((probs >= last) | (wanted == 0)[:, None], 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)


def _top_p(probs: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """The smallest set of tokens whose probability reaches p (nucleus; Holtzman et al. 2020). Ties with the last are
    kept.
    """
    best = torch.topk(probs, min(NUCLEUS, probs.shape[-1]), dim=-1).values
    if bool((best.double().sum(dim=-1) < top_p).any()):
        best = probs.sort(dim=-1, descending=True).values
    best = best.double()
    inside = best.cumsum(dim=-1) - best < top_p[:, None]
    last = best.gather(1, (inside.sum(dim=-1, keepdim=True) - 1).clamp_(min=0)).float()
    return probs.where((probs >= last) | (top_p >= 1.0)[:, None], 0.0)


def _invert(probs: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """The first token whose cumulative probability exceeds the uniform: first its block, then inside the block.

    Summing block by block, the blocks in float64, costs a fraction of one long cumulative sum and loses nothing at the
    tail. A token of probability 0 is never chosen. `probs` need not sum to exactly one.
    """
    rows, vocabulary = probs.shape
    even = vocabulary - vocabulary % BLOCK
    sums = [probs[:, :even].view(rows, -1, BLOCK).sum(dim=-1), probs[:, even:].sum(dim=-1, keepdim=True)]
    ends = torch.cat(sums, dim=-1).double().cumsum(dim=-1)
    wanted = uniforms[:, None] * ends[:, -1:]
    block = _first_beyond(ends, wanted)
    before = ends.gather(1, (block - 1).clamp_(min=0)) * (block > 0)
    places = (block * BLOCK + torch.arange(BLOCK, device=probs.device)).clamp_(max=vocabulary - 1)
    inside = probs.gather(1, places).cumsum(dim=-1, dtype=torch.float64)
    return places.gather(1, _first_beyond(inside, wanted - before))[:, 0]


def _first_beyond(sums: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Where each row's cumulative sums first exceed `wanted` [rows, 1], or, where rounding lets it fall past the end,
    the last place that adds anything. The last place of all where the sums are not numbers.
    """
    last = torch.nextafter(sums[:, -1:], torch.zeros_like(wanted))
    return torch.searchsorted(sums, torch.minimum(wanted, last), right=True).clamp_(max=sums.shape[-1] - 1)
