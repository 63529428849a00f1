"""What the services need of the learning engine. `training.gpu` fulfils it in the training worker; nobody else loads
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from training.engine.errors import EngineError
from training.engine.round_types import RoundInput, RoundOutput
from training.engine.types import (
    Answer,
    FinetuneConfig,
    FinetuneReport,
    OnStep,
    RatedPost,
    ReplyRanking,
    TextRequest,
    TrainingPost,
)

__all__ = ["Engine", "EngineError", "Sampler"]


class Sampler(Protocol):
    """Requests to one model that share batches: new ones join while others are being answered."""

    @property
    def busy(self) -> bool:
        """Whether a request is unanswered."""
        ...

    def add(self, asked: TextRequest) -> None:
        """Take a request on. Raises EngineError for one that cannot be answered; the others go on."""
        ...

    def step(self) -> list[Answer]:
        """Write one more token of every text; returns the requests that are done. Raises EngineError."""
        ...

    def texts(self, key: str) -> list[str]:
        """The texts of an unanswered request so far."""
        ...


class Engine(Protocol):
    """The engine as the services see it: plain data in, plain data out."""

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
        """One slice of offline training, resumed from `workdir`. `heldout` holds the newest posts, `heldout_authors`
        those of authors that are kept out altogether. Raises EngineError.
        """
        ...

    def export_finetuned(self, key: str, workdir: Path) -> Path:
        """The folder with the best weights of the run in `workdir`. Raises EngineError."""
        ...

    def run_round(self, round_input: RoundInput, on_step: OnStep) -> RoundOutput:
        """One round of online training. Raises EngineError."""
        ...

    def sampler(self, model: Path) -> Sampler:
        """A batch for requests to the model in a folder. Raises EngineError."""
        ...

    def text_losses(self, model: Path, texts: Sequence[str]) -> list[float | None]:
        """What each text costs the model in the folder, in nats over its tokens and its end; None for one that is
        longer than it reads. Raises EngineError.
        """
        ...

    def nearest(self, key: str, training: Callable[[], Sequence[str]], texts: Sequence[str]) -> list[tuple[str, int]]:
        """For each text the training text that shares the longest run of characters with it, and that run's length.
        `key` names the training texts, which are asked for where they are not known.
        """
        ...

    def judge(self, origin: Path, texts: Sequence[str], given: RoundInput | None) -> list[dict[str, float]]:
        """For each text what the critics in the folder of the fine-tuned model `origin` know of it: "realism" (the
        probability that it passes for a person's) and, where `given` says what a round would be told, "predicted" and
        "predicted_sd" (the expected reward, in standard units). What is not known is missing. Raises EngineError.
        """
        ...

    def train_critics(self, model: Path, posts: Sequence[RatedPost], *, seed: int) -> dict[str, Any]:
        """Train the critics of the model in a folder on posts in order of time, which say of themselves whether the
        model has learned from them. Writes their files into the folder; returns their figures. Raises EngineError.
        """
        ...

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
        """As many candidates for each context, ranked by the critics in the folder `critics` and compared with the
        texts that they were trained beside: `training` is asked for those when they are not at hand. A reliable
        discriminator rejects what is real with `least_realism` or less. Raises EngineError.
        """
        ...
