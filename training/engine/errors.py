"""What the engine raises when it cannot go on. Every message says what happened and what to do next."""

from __future__ import annotations

from collections.abc import Mapping


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


class NothingToTestOn(EngineError):
    """Every post that was held out to say when to stop broke the training. `quarantined` says of each post that the
    training left out, by its key, why.
    """

    def __init__(self, quarantined: Mapping[str, str]) -> None:
        super().__init__(
            "Every post that was held out to test on broke the training, so nothing could say when to stop. They are "
            "left out from now on: start the training again, and it tests on others."
        )
        self.quarantined = quarantined
