"""The bridge to the learning engine: the one module outside of it that loads torch, imported by the training worker's
tasks alone.

Models and trainings in progress are kept between tasks, so that a slice begins where the last one left the memory,
not the disk. What is kept is only a cache: every call finds its way back from files.
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from django.conf import settings

from training.engine import judging, memory
from training.engine.critics import stedden
from training.engine.critics.training import train_critics
from training.engine.diversity import distinct_n, duplicate_rate, memorised_rate
from training.engine.errors import EngineError, OutOfMemory
from training.engine.finetune import Finetune
from training.engine.guards import TextIndex
from training.engine.intervals import Interval, welch
from training.engine.models.base import LanguageModel
from training.engine.models.causal import CausalLanguageModel
from training.engine.models.registry import load_model
from training.engine.online import run_round
from training.engine.round_types import RoundInput, RoundOutput
from training.engine.types import (
    Answer,
    FinetuneConfig,
    FinetuneReport,
    OnStep,
    RankedReply,
    RatedPost,
    ReplyRanking,
    TextRequest,
    TrainingPost,
)

MODELS_KEPT = 3

NO_MEMORY = (
    "There is not enough memory for this. Ask for fewer or shorter texts, choose a smaller model, or give this machine "
    "more memory."
)


@contextmanager
def _words() -> Iterator[None]:
    """What a person can mend becomes an EngineError: a value that cannot be, memory that ran out."""
    try:
        yield
    except ValueError as error:
        raise EngineError(str(error)) from error
    except Exception as error:
        if memory.ran_out(error):
            raise OutOfMemory(NO_MEMORY) from error
        raise


class GpuSampler:
    """`training.services.engine.Sampler`: nothing is learned from these texts, so they are drawn fast."""

    def __init__(self, model: LanguageModel) -> None:
        self._sampler = model.sampler("fast")

    @property
    def busy(self) -> bool:
        return self._sampler.busy

    def add(self, asked: TextRequest) -> None:
        with _words():
            self._sampler.add(asked)

    def step(self) -> list[Answer]:
        with _words():
            return [
                replace(answer, samples=tuple(replace(s, pieces=self._sampler.pieces(s)) for s in answer.samples))
                for answer in self._sampler.step()
            ]

    def texts(self, key: str) -> list[str]:
        return self._sampler.texts(key)


class GpuEngine:
    """`training.services.engine.Engine`, fulfilled on this machine's processors."""

    def __init__(self) -> None:
        self._trainings: dict[str, Finetune] = {}
        self._models: OrderedDict[Path, LanguageModel] = OrderedDict()
        self._compared: dict[Path, TextIndex] = {}  # the training texts of the last lineage that answered
        self._learned: tuple[str, TextIndex] | None = None

    def finetune(
        self,
        *,
        key: str,
        base: str,
        train: Sequence[TrainingPost],
        heldout: Sequence[TrainingPost],
        heldout_authors: Sequence[TrainingPost],
        config: FinetuneConfig,
        workdir: Path,
        should_stop: Callable[[], bool],
        on_step: OnStep,
        on_samples: Callable[[int, list[str]], None],
    ) -> FinetuneReport:
        try:
            with _words():
                if key not in self._trainings:
                    self._trainings.clear()  # one training's tensors at a time
                    self._trainings[key] = Finetune(base, train, heldout, config, workdir, heldout_authors)
                return self._trainings[key].run(should_stop, on_step, on_samples)
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
        with _words():
            return run_round(round_input, on_step)

    def sampler(self, model: Path) -> GpuSampler:
        with _words():
            return GpuSampler(self._model(model))

    def text_losses(self, model: Path, texts: Sequence[str]) -> list[float | None]:
        with _words():
            reader = self._model(model)
            return [_loss(reader, text) for text in texts]

    def nearest(self, key: str, training: Callable[[], Sequence[str]], texts: Sequence[str]) -> list[tuple[str, int]]:
        if self._learned is None or self._learned[0] != key:
            self._learned = key, TextIndex(training())
        return [self._learned[1].nearest(text) for text in texts]

    def judge(self, origin: Path, texts: Sequence[str], given: RoundInput | None) -> list[dict[str, float]]:
        with _words():
            reader = self._model(origin)
            if not isinstance(reader, CausalLanguageModel):
                return [{} for _ in texts]
            return judging.judge(reader, origin, texts, given)

    def train_critics(self, model: Path, posts: Sequence[RatedPost], *, seed: int) -> dict[str, Any]:
        with _words():
            return train_critics(model, posts, seed)

    def rank_replies(
        self,
        model: Path,
        critics: Path,
        contexts: Sequence[str],
        *,
        candidates: int,
        seed: int,
        least_realism: float,
        training: Callable[[], Sequence[str]],
    ) -> list[ReplyRanking]:
        with _words():
            writer, reader = self._model(model), self._model(critics)
            if not isinstance(writer, CausalLanguageModel) or not isinstance(reader, CausalLanguageModel):
                raise EngineError("Replies can be ranked for language models of the ordinary kind alone; choose one.")
            rankings = stedden.rank_replies(writer, reader, critics, contexts, candidates, seed, least_realism)
        if critics not in self._compared:
            self._compared = {critics: TextIndex(training())}
        return [replace(each, replies=tuple(map(self._with_run(critics), each.replies))) for each in rankings]

    def _with_run(self, critics: Path) -> Callable[[RankedReply], RankedReply]:
        index = self._compared[critics]
        return lambda reply: replace(reply, shared_run=index.nearest(reply.text)[1])

    def _model(self, folder: Path) -> LanguageModel:
        if folder not in self._models:
            self._models[folder] = load_model(str(folder))
            while len(self._models) > MODELS_KEPT:
                self._models.popitem(last=False)
        self._models.move_to_end(folder)
        return self._models[folder]


@torch.no_grad()
def _loss(reader: LanguageModel, text: str) -> float | None:
    """One text at a time: in a batch, one that is too long would refuse the others."""
    try:
        return -sum(reader.logprobs([text])[0])
    except ValueError:
        return None


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
