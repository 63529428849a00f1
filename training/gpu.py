"""The bridge to the learning engine: the one module outside of it that loads torch, imported by the training worker's
tasks alone.

Models and trainings in progress are kept between tasks, so that a slice begins where the last one left the memory,
not the disk. What is kept is only a cache: every call finds its way back from files.
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from django.conf import settings

from training.engine.diversity import distinct_n, duplicate_rate, memorised_rate
from training.engine.errors import EngineError
from training.engine.finetune import Finetune
from training.engine.guards import TextIndex
from training.engine.intervals import Interval, welch
from training.engine.models.base import LanguageModel
from training.engine.models.registry import load_model
from training.engine.online import run_round
from training.engine.types import (
    FinetuneConfig,
    FinetuneReport,
    OnStep,
    RoundInput,
    RoundOutput,
    Sample,
    SamplingParams,
)

MODELS_KEPT = 3


class GpuEngine:
    """`training.services.engine.Engine`, fulfilled on this machine's processors."""

    def __init__(self) -> None:
        self._trainings: dict[str, Finetune] = {}
        self._models: OrderedDict[Path, LanguageModel] = OrderedDict()

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
        try:
            if key not in self._trainings:
                self._trainings.clear()  # one training's tensors at a time
                self._trainings[key] = Finetune(base, train, heldout, config, workdir)
            return self._trainings[key].run(should_stop, on_step, on_samples)
        except (ValueError, torch.OutOfMemoryError) as error:
            self._trainings.pop(key, None)
            raise EngineError(str(error)) from error
        except BaseException:  # whatever broke it off, the next slice begins from the last checkpoint
            self._trainings.pop(key, None)
            raise

    def export_finetuned(self, key: str, workdir: Path) -> Path:
        training = self._trainings.pop(key, None)
        if training is None:
            raise EngineError("There is no training of this run in memory to export: start the run again.")
        folder = workdir / "export"
        shutil.rmtree(folder, ignore_errors=True)
        training.finish(folder)
        return folder

    def run_round(self, round_input: RoundInput, on_step: OnStep) -> RoundOutput:
        try:
            return run_round(round_input, on_step)
        except (ValueError, torch.OutOfMemoryError) as error:
            raise EngineError(str(error)) from error

    def generate(self, model: Path, prompts: Sequence[str], params: SamplingParams) -> list[Sample]:
        try:
            return self._model(model).generate(prompts, params)
        except (ValueError, torch.OutOfMemoryError) as error:
            raise EngineError(str(error)) from error

    def _model(self, folder: Path) -> LanguageModel:
        if folder not in self._models:
            self._models[folder] = load_model(str(folder))
            while len(self._models) > MODELS_KEPT:
                self._models.popitem(last=False)
        self._models.move_to_end(folder)
        return self._models[folder]


def compare(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Mean of `first` minus mean of `second`, with a 95 % interval for a single look."""
    return welch(first, second)


def variety(texts: Sequence[str], training: Sequence[str]) -> dict[str, float]:
    """How varied a set of posts is, and how much of it repeats itself or the training texts."""
    return {
        "distinct_2": distinct_n(texts, 2),
        "duplicate_rate": duplicate_rate(texts),
        "memorised_rate": memorised_rate(texts, TextIndex(training)),
    }


if settings.TRAINING_THREADS:
    torch.set_num_threads(settings.TRAINING_THREADS)

engine = GpuEngine()
