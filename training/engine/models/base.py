"""The seam of language models: what the engine asks of a model, whatever architecture is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from training.engine.types import Sample, SamplingParams


@runtime_checkable
class LanguageModel(Protocol):
    """A model that writes posts and can say how probable a post is."""

    def generate(self, prompts: Sequence[str], params: SamplingParams) -> list[Sample]:
        """One sample per prompt, in order; sample i depends on (params.seed, i) and its prompt only."""
        ...

    def logprobs(self, texts: Sequence[str]) -> list[list[float]]:
        """For each text the log-probability in nats of each of its tokens and of the end token after them."""
        ...

    def save(self, folder: Path) -> str:
        """Writes a complete model folder; returns the SHA-256 of its weights."""
        ...

    @classmethod
    def load(cls, source: str, *, checksum: str | None = None) -> Self:
        """The model at `source`: a folder or a hub name.

        Raises `ModelUnavailable` when it cannot be had and `CorruptWeights` when its weights do not match `checksum`.
        """
        ...
