"""What the services need of the learning engine. `training.gpu` fulfils it in the training worker; nobody else loads
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from training.engine.errors import EngineError
from training.engine.types import (
    FinetuneConfig,
    FinetuneReport,
    OnStep,
    RoundInput,
    RoundOutput,
    Sample,
    SamplingParams,
)

__all__ = ["Engine", "EngineError"]


class Engine(Protocol):
    """The engine as the services see it: plain data in, plain data out."""

    def finetune(
        self,
        *,
        key: str,
        base: str,
        train: Sequence[str],
        heldout: Sequence[str],
        config: FinetuneConfig,
        workdir: Path,
        should_stop: Callable[[], bool],
        on_step: OnStep,
        on_samples: Callable[[int, list[str]], None],
    ) -> FinetuneReport:
        """One slice of offline training, resumed from `workdir`. Raises EngineError."""
        ...

    def export_finetuned(self, key: str, workdir: Path) -> Path:
        """The folder with the best weights of the run in `workdir`. Raises EngineError."""
        ...

    def run_round(self, round_input: RoundInput, on_step: OnStep) -> RoundOutput:
        """One round of online training. Raises EngineError."""
        ...

    def generate(self, model: Path, prompts: Sequence[str], params: SamplingParams) -> list[Sample]:
        """One sample per prompt. Raises EngineError."""
        ...
