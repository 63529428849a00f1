"""A classifier on a frozen model's reading of texts: small networks, with probabilities that mean what they say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from training.engine import checkpoints
from training.engine.critics.heads import PARTS, Heads, Shape, best_steps, cross_entropy, train
from training.engine.critics.reading import Reading, Scale
from training.engine.errors import CorruptWeights
from training.engine.features import FloatArray

_JUDGED = 0.25
_TEMPERATURES = np.exp(np.linspace(-1.5, 2.5, 81))
_SCALE = ("centre", "axes", "mean", "spread")
_REPORT = "report"


@dataclass(frozen=True)
class Classifier:
    """`temperature` divides the networks' outputs (Guo et al. 2017, "On calibration of modern neural networks")."""

    scale: Scale
    heads: Heads
    temperature: float

    def probabilities(self, reading: Reading) -> FloatArray:
        """(n, K), rows adding up to 1."""
        return _softmax(self.heads.outputs(self.scale.columns(reading)).mean(axis=0) / self.temperature)

    def save(self, path: Path, report: dict[str, Any]) -> None:
        """Write it with its figures, as safetensors."""
        arrays = {name: torch.tensor(getattr(self.scale, name)) for name in _SCALE}
        words = torch.frombuffer(bytearray(json.dumps(report).encode()), dtype=torch.uint8)
        temperature = torch.tensor([self.temperature], dtype=torch.float64)
        checkpoints.write_tensors(path, {**arrays, **self.heads.parts, "temperature": temperature, _REPORT: words})

    @classmethod
    def load(cls, path: Path) -> tuple[Classifier, dict[str, Any]]:
        """What `save` wrote. Raises FileNotFoundError, or CorruptWeights when it is damaged."""
        if not path.is_file():
            raise FileNotFoundError(path)
        try:
            stored = load_file(path)
            scale = Scale(**{name: stored[name].numpy() for name in _SCALE})
            heads = Heads({name: stored[name] for name in PARTS})
            report = json.loads(stored[_REPORT].numpy().tobytes())
            return cls(scale, heads, float(stored["temperature"][0])), report
        except (SafetensorError, KeyError, ValueError) as problem:
            raise CorruptWeights(f"The critic in {path} cannot be read ({problem}). Fine-tune anew.") from problem


def fit(reading: Reading, labels: NDArray[np.int64], classes: int, seed: int) -> Classifier:
    """A classifier of rows in order of time: the newest quarter says how long to learn and how sure to be, then
    everything is learned from.
    """
    older = len(labels) - round(_JUDGED * len(labels))
    shape = Shape(outputs=classes, decay=1.0)
    targets = torch.tensor(labels)
    scale = Scale.fit(reading.rows(np.arange(older)))
    columns = scale.columns(reading)
    past, present = (columns[:older], targets[:older]), (columns[older:], targets[older:])
    steps = best_steps(past, present, cross_entropy, shape, seed)
    judged = train(past, cross_entropy, shape, seed, steps).outputs(columns[older:]).mean(axis=0)
    temperature = _best_temperature(judged, labels[older:])
    return Classifier(scale, train((columns, targets), cross_entropy, shape, seed, steps), temperature)


def _best_temperature(outputs: FloatArray, labels: NDArray[np.int64]) -> float:
    if not len(labels):
        return 1.0
    places = np.arange(len(labels))
    losses = [-np.log(_softmax(outputs / each)[places, labels] + 1e-12).mean() for each in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def _softmax(outputs: FloatArray) -> FloatArray:
    grown = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))
