"""The seam of language models: what the engine asks of a model, whatever architecture is behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from training.engine.types import Answer, LengthLimit, Precision, Prompt, Sample, SamplingParams, TextRequest


class Sampler(Protocol):
    """Requests that share batches. `busy` while one is unanswered."""

    @property
    def busy(self) -> bool: ...

    def add(self, asked: TextRequest) -> None:
        """Take a request on. Raises `ValueError` for one that cannot be answered."""
        ...

    def step(self) -> Sequence[Answer]:
        """A little further; returns the requests that are done."""
        ...

    def texts(self, key: str) -> list[str]:
        """The texts of an unanswered request so far."""
        ...

    def pieces(self, sample: Sample) -> tuple[str, ...]:
        """What each token of a sample adds to its text."""
        ...


@runtime_checkable
class LanguageModel(Protocol):
    """A model that writes posts and can say how probable a post is."""

    def generate(
        self,
        prompts: Sequence[str | Prompt],
        params: SamplingParams,
        limit: LengthLimit | None = None,
        precision: Precision = "exact",
    ) -> list[Sample]:
        """One sample per prompt, in order; sample i depends on (params.seed, i) and its prompt only. A text never
        exceeds `limit`: one that would is cut, and has not ended.
        """
        ...

    def stream(
        self,
        prompts: Sequence[str | Prompt],
        params: SamplingParams,
        limit: LengthLimit | None = None,
        precision: Precision = "exact",
    ) -> Iterator[tuple[int, str]]:
        """The texts of `generate` while they are written: (index of the prompt, what is new)."""
        ...

    def sampler(self, precision: Precision) -> Sampler:
        """A batch to put requests into, with the weights as they are now."""
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
