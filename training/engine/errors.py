"""What the engine raises when it cannot go on. Every message says what happened and what to do next."""

from __future__ import annotations


class EngineError(Exception):
    """Base of the engine's own errors; the message is fit to be shown to a person."""


class ModelUnavailable(EngineError):
    """A language model cannot be had: unknown name, no network, unsafe weights, or a tokenizer without an end token."""


class CorruptWeights(EngineError):
    """Stored weights differ from what was written: the checksum does not match or the file cannot be read."""


class TrainingDiverged(EngineError):
    """The loss stopped being a number; the last good checkpoint is untouched."""


class OutOfMemory(EngineError):
    """A model or a training does not fit into the memory there is."""
