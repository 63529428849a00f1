"""Drawing posts from a causal language model: one batched loop with a key-value cache.

Each sample has its own stream of random numbers, made from (seed, index) alone, and every token is the inverse of the
cumulative distribution at the stream's next number. So a sample does not depend on which others share its batch, beyond
the rounding of the model's own arithmetic. Log-probabilities are those of the unmodified policy (temperature 1, no
filter): that is what a policy gradient needs, whatever the text was drawn with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from training.engine.types import SamplingParams

MAX_BATCH = 256
BLOCK = 64
"""Tokens per block of the two-level search in `_invert`."""

COMPACT_AT = 0.1
"""Finished rows are dropped once they are this share of the batch: every drop copies the cache."""


@dataclass
class Drawn:
    """One sample: token ids without the end token, their summed log-probability (with the end token's, if reached)."""

    token_ids: list[int]
    logprob: float
    ended: bool


def draw(
    network: Any, prompts: Sequence[Sequence[int]], params: SamplingParams, *, end_id: int, positions: int
) -> list[Drawn]:
    """One sample per prompt; `prompts` are token ids that begin with the end token. `MAX_BATCH` rows run together.

    Stops a row at `end_id`, at `max_new_tokens` or at the model's last position. Raises `ValueError` for parameters
    out of range and for a prompt that leaves no room.
    """
    _check(params, prompts, positions)
    random = [_stream(params, index) for index in range(len(prompts))]
    # Neighbours of one length need no padding, and the order cannot change what a sample's own stream says.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    results: dict[int, Drawn] = {}
    for start in range(0, len(order), MAX_BATCH):
        members = order[start : start + MAX_BATCH]
        batch = _Batch(network, [prompts[i] for i in members], [random[i] for i in members], params, end_id, positions)
        results.update(zip(members, batch.run(), strict=True))
    return [results[i] for i in range(len(prompts))]


def _check(params: SamplingParams, prompts: Sequence[Sequence[int]], positions: int) -> None:
    if not params.temperature > 0 or not 0 < params.top_p <= 1 or params.top_k < 0 or params.max_new_tokens < 1:
        raise ValueError(
            "Sampling needs a temperature above 0, top-p above 0 and at most 1, top-k of 0 (off) or more, "
            "and at least one new token."
        )
    longest = max(map(len, prompts), default=0)
    if longest >= positions:
        raise ValueError(
            f"A prompt of {longest} tokens leaves no room: this model reads {positions}. Shorten the prompt."
        )


def _stream(params: SamplingParams, index: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    generator = np.random.Generator(np.random.Philox(key=[params.seed % 2**64, index]))
    return generator.random(params.max_new_tokens)


class _Batch:
    """The rows that are drawn together, and the loop over their tokens."""

    def __init__(
        self,
        network: Any,
        prompts: Sequence[Sequence[int]],
        random: Sequence[np.ndarray[Any, np.dtype[np.float64]]],
        params: SamplingParams,
        end_id: int,
        positions: int,
    ) -> None:
        self.network, self.params, self.end_id = network, params, end_id
        self.device = next(network.parameters()).device
        longest = max(map(len, prompts))
        self.steps = min(params.max_new_tokens, positions - longest)
        ids = [[end_id] * (longest - len(p)) + list(p) for p in prompts]
        self.input_ids = torch.tensor(ids, device=self.device)
        lengths = torch.tensor([len(p) for p in prompts], device=self.device)
        self.mask: torch.Tensor | None = None
        if int(lengths.min()) < longest:
            self.mask = (torch.arange(longest, device=self.device) >= longest - lengths[:, None]).long()
        self.uniforms = torch.from_numpy(np.stack(random)).to(self.device)
        self.position = (torch.arange(longest, device=self.device) - (longest - lengths[:, None])).clamp(min=0)
        self.drawn = [Drawn([], 0.0, False) for _ in prompts]

    @torch.no_grad()
    def run(self) -> list[Drawn]:
        """Draws until every row has ended or the steps are used up."""
        rows = list(range(len(self.drawn)))
        cache: Any = None
        for step in range(self.steps):
            output = self.network(
                input_ids=self.input_ids,
                attention_mask=self.mask,
                position_ids=self.position,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = output.past_key_values
            tokens, logprobs = pick(output.logits[:, -1].float(), self.uniforms[rows, step], self.params)
            rows, tokens, kept = self._record(rows, tokens, logprobs)
            if not any(row >= 0 for row in rows):
                break
            if kept is not None:
                cache.batch_select_indices(kept)
                self.mask = None if self.mask is None else self.mask[kept]
                self.position = self.position[kept]
            self.input_ids = tokens[:, None]
            self.position = self.position[:, -1:] + 1
            if self.mask is not None:
                self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=1)
        return self.drawn

    def _record(
        self, rows: list[int], tokens: torch.Tensor, logprobs: torch.Tensor
    ) -> tuple[list[int], torch.Tensor, torch.Tensor | None]:
        """Notes what was drawn. Ended rows become -1; once they are many, the rows to keep are returned as well."""
        after: list[int] = []
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            if row >= 0:
                drawn = self.drawn[row]
                drawn.logprob += logprob
                if token == self.end_id:
                    drawn.ended, row = True, -1
                else:
                    drawn.token_ids.append(token)
            after.append(row)
        alive = [at for at, row in enumerate(after) if row >= 0]
        if len(alive) > (1 - COMPACT_AT) * len(after) or not alive:
            return after, tokens, None
        kept = torch.tensor(alive, device=self.device)
        return [after[at] for at in alive], tokens[kept], kept


def pick(logits: torch.Tensor, uniforms: torch.Tensor, params: SamplingParams) -> tuple[torch.Tensor, torch.Tensor]:
    """A token per row and its log-probability at temperature 1 without filters, in nats.

    `logits` float32 [rows, vocabulary], `uniforms` [rows] in [0, 1). Order of the filters: temperature, top-k, then
    top-p (the smallest set of tokens whose probability reaches p; Holtzman et al. 2020).
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    probs = logprobs.exp() if params.temperature == 1.0 else torch.softmax(logits / params.temperature, dim=-1)
    if 0 < params.top_k < probs.shape[-1]:
        threshold = torch.topk(probs, params.top_k, dim=-1).values[:, -1:]
        probs = probs.where(probs >= threshold, 0.0)
        probs = probs / probs.sum(dim=-1, keepdim=True)
    if params.top_p < 1.0:
        ordered, index = probs.sort(dim=-1, descending=True, stable=True)
        beyond = ordered.cumsum(dim=-1) - ordered >= params.top_p
        probs = torch.zeros_like(probs).scatter(1, index, ordered.masked_fill(beyond, 0.0))
    tokens = _invert(probs, uniforms)
    return tokens, logprobs.gather(1, tokens[:, None])[:, 0]


def _invert(probs: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """The first token whose cumulative probability exceeds the uniform: first its block, then inside the block.

    Summing block by block in float64 costs a fraction of one long cumulative sum and loses nothing at the tail. A token
    of probability 0 is never chosen. `probs` need not sum to exactly one.
    """
    rows, vocabulary = probs.shape
    blocks = torch.nn.functional.pad(probs, (0, -vocabulary % BLOCK)).view(rows, -1, BLOCK)
    heads = blocks.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    wanted = (uniforms * heads[:, -1])[:, None]
    block = (heads <= wanted).sum(dim=-1, keepdim=True).clamp(max=heads.shape[1] - 1)
    before = torch.where(block > 0, heads.gather(1, (block - 1).clamp(min=0)), 0.0)
    inside = blocks.gather(1, block[:, :, None].expand(-1, 1, BLOCK))[:, 0].double()
    reached = inside.cumsum(dim=-1) > wanted - before
    first = torch.where(reached.any(dim=-1), reached.int().argmax(dim=-1), _last_positive(inside))
    return block[:, 0] * BLOCK + first


def _last_positive(inside: torch.Tensor) -> torch.Tensor:
    """Where rounding lets the number fall past the block's end: its last token that can be drawn at all."""
    return inside.shape[1] - 1 - (inside.flip(-1) > 0).int().argmax(dim=-1)
