"""What a critic sees of a text and of what it answers: the frozen model's states, fluency, surface, and how they fit.

The model reads the context before the text, so that the text's states and log-probabilities know what it answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training.engine.conditioning import known, prompt_ids
from training.engine.features import FloatArray, principal_axes
from training.engine.models.causal import CausalLanguageModel
from training.engine.types import Conditions, Prompt
from training.engine.words import words

_ROWS = 64
_COMPONENTS = 24
_CLIP = 4.0
_NUMBERS = 20


@dataclass(frozen=True)
class Reading:
    """A model's view of n texts: `states` (n, 4, d) are means over the text of the embeddings, the middle and the last
    layer, and the middle layer's over the context; `numbers` (n, 20) are fluency, surface and fit.
    """

    states: FloatArray
    numbers: FloatArray

    def rows(self, places: NDArray[np.int64]) -> Reading:
        """The reading of some of the texts."""
        return Reading(self.states[places], self.numbers[places])

    def __len__(self) -> int:
        return len(self.numbers)


@torch.no_grad()
def read(model: CausalLanguageModel, texts: Sequence[str], contexts: Sequence[str]) -> Reading:
    """Each text after its context ("" where it answers nothing). Long texts are cut at the end, contexts at their
    beginning.
    """
    longest = max(1, model.positions // 2)
    bodies = [ids[:longest] or [model.tokenizer.end_id] for ids in model.tokenizer.encode_all(texts)]
    starts = [
        _start(model, context, model.positions - len(body)) for context, body in zip(contexts, bodies, strict=True)
    ]
    order = sorted(range(len(texts)), key=lambda at: len(starts[at]) + len(bodies[at]))
    states = np.zeros((len(texts), 4, model.network.config.hidden_size))
    numbers = np.zeros((len(texts), _NUMBERS))
    for first in range(0, len(order), _ROWS):
        members = order[first : first + _ROWS]
        found, logprobs = _forward(model, [starts[at] for at in members], [bodies[at] for at in members])
        states[members] = found
        numbers[members] = [
            [*_fluency(values), *_surface(texts[at]), *_fit(texts[at], contexts[at])]
            for at, values in zip(members, logprobs, strict=True)
        ]
    return Reading(np.nan_to_num(states), np.nan_to_num(numbers))


def _start(model: CausalLanguageModel, context: str, room: int) -> list[int]:
    """What is read before the text. A model that was not taught contexts reads one as a post before this one."""
    if not context.strip():
        return [model.tokenizer.end_id]
    if "context" in known(model.tokenizer):
        return prompt_ids(model.tokenizer, Prompt(conditions=Conditions(context=context)), room)
    end = model.tokenizer.end_id
    space = room - 2
    return [end, *model.tokenizer.encode(context)[-space:], end] if space > 0 else [end]


def _forward(
    model: CausalLanguageModel, starts: Sequence[list[int]], bodies: Sequence[list[int]]
) -> tuple[FloatArray, list[FloatArray]]:
    """Pooled states (n, 4, d) and the log-probabilities of each body's tokens and of the end after them."""
    end = model.tokenizer.end_id
    rows = [[*start, *body] for start, body in zip(starts, bodies, strict=True)]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), end)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
    ids = ids.to(model.device)
    place = torch.arange(longest, device=model.device)
    begin = torch.tensor([len(start) for start in starts], device=model.device)[:, None]
    stop = torch.tensor([len(row) for row in rows], device=model.device)[:, None]
    body, context = (place >= begin) & (place < stop), (place < begin) & (begin > 1)
    with model.autocast():
        seen = model.network.base_model(input_ids=ids, use_cache=False, output_hidden_states=True)
        # Position t foretells token t + 1: the last of the start foretells the body's first.
        before = (place >= begin - 1) & (place < stop)
        targets = torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], end)], dim=1)
        targets[place[None, :] == stop - 1] = end
        logits = model.network.get_output_embeddings()(seen.last_hidden_state[before])
        values = torch.log_softmax(logits.float(), dim=1).gather(1, targets[before][:, None])[:, 0].double().cpu()
    layers = seen.hidden_states
    middle = layers[len(layers) // 2]
    pooled = [_mean(layers[0], body), _mean(middle, body), _mean(layers[-1], body), _mean(middle, context)]
    logprobs = torch.split(values, [len(each) + 1 for each in bodies])
    return torch.stack(pooled, dim=1).double().cpu().numpy(), [part.numpy() for part in logprobs]


def _mean(layer: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    kept = chosen.float()[:, :, None]
    return (layer.float() * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1.0)


def _fluency(values: FloatArray) -> list[float]:
    return [
        float(values.mean()), float(values.min()), float(values.std()), float((values < -6.0).mean()),
        float((values > -0.7).mean()), float(values[-1]),
    ]  # fmt: skip


def _surface(text: str) -> list[float]:
    tokens = words(text)
    count, length = max(1, len(tokens)), max(1, len(text))
    return [
        math.log1p(len(text)),
        sum(map(len, tokens)) / count,
        len(set(tokens)) / count,
        sum(character.isupper() for character in text) / length,
        sum(character.isdigit() for character in text) / length,
        sum(not character.isalnum() and not character.isspace() for character in text) / length,
        float("?" in text),
        float("!" in text),
        float(text.count("(") != text.count(")") or text.count('"') % 2),
        float(text.rstrip().endswith((".", "!", "?"))),
    ]


def _fit(text: str, context: str) -> list[float]:
    """How a text goes with what it answers: zeros when it answers nothing."""
    own, other = set(words(text)), set(words(context))
    if not other:
        return [0.0] * 4
    shared = len(own & other)
    return [1.0, shared / max(1, len(own)), shared / len(other), math.log1p(len(context))]


@dataclass(frozen=True)
class Scale:
    """A frozen map from readings to standardised columns: principal components of each pooled state, and the
    numbers.
    """

    centre: FloatArray
    axes: FloatArray
    mean: FloatArray
    spread: FloatArray

    @classmethod
    def fit(cls, reading: Reading) -> Scale:
        """From readings (n, …) that nothing is judged by."""
        centre = reading.states.mean(axis=0)
        axes = np.stack(
            [
                principal_axes(reading.states[:, part] - centre[part], _COMPONENTS)
                for part in range(reading.states.shape[1])
            ]
        )
        width = axes.shape[0] * axes.shape[2] + _NUMBERS
        columns = cls(centre, axes, np.zeros(width), np.ones(width))._columns(reading)
        spread = columns.std(axis=0)
        return cls(centre, axes, columns.mean(axis=0), np.where(spread > 1e-6, spread, 1.0))

    def columns(self, reading: Reading) -> FloatArray:
        """(n, D) in standard units, clipped at ±4."""
        return np.clip((self._columns(reading) - self.mean) / self.spread, -_CLIP, _CLIP)

    def _columns(self, reading: Reading) -> FloatArray:
        components = np.einsum("npd,pdk->npk", reading.states - self.centre, self.axes)
        return np.hstack([components.reshape(len(reading), -1), reading.numbers])
