"""The frozen reference model as a reader: pooled hidden states and log-probabilities of texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from training.engine.features import Encoding, FloatArray
from training.engine.models.causal import CausalLanguageModel
from training.engine.models.loss import CHUNK

_ROWS = 64


@torch.no_grad()
def encode(model: CausalLanguageModel, texts: Sequence[str]) -> Encoding:
    """Each text's hidden states of the middle and the last layer, averaged over its tokens, and its tokens'
    log-probabilities.

    Texts longer than the model reads are cut. Texts are read in order of length, which saves padding.
    """
    documents = [document[: model.positions + 1] for document in model.tokenizer.documents(texts)]
    order = sorted(range(len(texts)), key=lambda index: len(documents[index]))
    pooled: dict[int, FloatArray] = {}
    logprobs: dict[int, FloatArray] = {}
    for start in range(0, len(order), _ROWS):
        members = order[start : start + _ROWS]
        states, values = _read(model, [documents[index] for index in members])
        for row, index in enumerate(members):
            pooled[index] = states[row]
            logprobs[index] = values[row, : len(documents[index]) - 1]
    width = model.network.config.hidden_size * 2
    stacked = np.stack([pooled[index] for index in range(len(texts))]) if texts else np.zeros((0, width))
    return Encoding(stacked, tuple(logprobs[index] for index in range(len(texts))))


def _read(model: CausalLanguageModel, documents: Sequence[Sequence[int]]) -> tuple[FloatArray, FloatArray]:
    longest = max(map(len, documents))
    ids = torch.full((len(documents), longest), model.tokenizer.end_id)
    for row, document in enumerate(documents):
        ids[row, : len(document)] = torch.tensor(document)
    ids = ids.to(model.device)
    targets = ids[:, 1:]
    lengths = torch.tensor([len(document) - 1 for document in documents], device=model.device)
    inside = torch.arange(longest - 1, device=model.device) < lengths[:, None]
    values = torch.zeros(targets.shape, device=model.device)
    with model.autocast():
        read = model.network.base_model(input_ids=ids[:, :-1], use_cache=False, output_hidden_states=True)
        values[inside] = _logprobs(model, read.last_hidden_state[inside], targets[inside])
    layers = [read.hidden_states[len(read.hidden_states) // 2], read.last_hidden_state]
    kept = inside.float()[:, :, None]
    states = torch.cat([(layer.float() * kept).sum(dim=1) / kept.sum(dim=1) for layer in layers], dim=1)
    return states.double().cpu().numpy(), values.double().cpu().numpy()


def _logprobs(model: CausalLanguageModel, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probability (T,) of each target (T,) after hidden states (T, width), a block at a time: logits are large."""
    head = model.network.get_output_embeddings()
    blocks = zip(torch.split(hidden, CHUNK), torch.split(targets, CHUNK), strict=True)
    found = [
        torch.log_softmax(head(states).float(), dim=1).gather(1, labels[:, None])[:, 0] for states, labels in blocks
    ]
    return torch.cat(found)
