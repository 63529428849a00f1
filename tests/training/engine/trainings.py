"""Small trainings that tests build and break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from tests.training.engine.test_finetune import CONFIG, as_posts
from training.engine.finetune import Finetune
from training.engine.packing import PackedRows
from training.engine.types import FinetuneConfig, TrainingPost

Build = Callable[..., Finetune]
PLAIN = replace(CONFIG, samples_per_evaluation=0)


def builder(base: Path, parent: Path, posts: list[str]) -> Build:
    """Builds trainings in folders of `parent` that learn from the first six posts, each by its key."""

    def make(workdir: str = "run", config: FinetuneConfig = PLAIN, heldout: list[str] = posts[6:]) -> Finetune:
        train = [TrainingPost(text, key=f"key {at}") for at, text in enumerate(posts[:6])]
        return Finetune(base, train, as_posts(heldout), config, parent / workdir)

    return make


def watch_loss(training: Finetune, before: Callable[[PackedRows], None], *, testing: bool = False) -> None:
    """Calls `before` with the rows of each loss that is computed to learn from, or to test."""
    original = training.model.loss

    def loss(rows: PackedRows) -> torch.Tensor:
        if torch.is_grad_enabled() is not testing:
            before(rows)
        return original(rows)

    training.model.loss = loss  # type: ignore[method-assign]
