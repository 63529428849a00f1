"""Whether a model bears int8: a few channels much larger than the others, as some models have, make every step of their
rows' rounding coarse (Dettmers et al. 2022, "LLM.int8()").
"""

from __future__ import annotations

import torch

from training.engine.sampling.decoders import Decoder

ROWS, TOKENS = 8, 16
"""Texts that are compared, and how long they are."""

MOST = 0.01
"""Nats per token that drafts may cost more: 1 % of perplexity."""


@torch.inference_mode()
def drift(exact: Decoder, other: Decoder, start: int, tokens: int = TOKENS) -> float:
    """What a token of the model's own texts, which begin after `start`, costs more with `other`, in nats: the mean of
    KL(exact ‖ other) over texts drawn with `exact`, always the same ones. NaN where the model gives no numbers.
    """
    generator, found = torch.Generator().manual_seed(0), []
    logits, others = exact.prefill([[start]] * ROWS), other.prefill([[start]] * ROWS)
    for at in range(tokens):
        believed = torch.log_softmax(logits, dim=-1)
        found.append((believed.exp() * (believed - torch.log_softmax(others, dim=-1))).sum(dim=-1))
        if at + 1 == tokens or not bool(found[-1].isfinite().all()):
            break
        drawn = torch.multinomial(believed.exp(), 1, generator=generator)[:, 0]
        logits, others = exact.step(drawn), other.step(drawn)
    return float(torch.cat(found).mean())
