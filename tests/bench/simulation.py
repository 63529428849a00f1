"""Rounds of online learning against a simulated audience: the engine alone, no database, no clock to wait for.

A round's posts have all their rewards before the next round begins. What the audience truly thinks of each published
post is recorded, and never shown to the learner. Everything follows from the seed.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from faces.kinds.sandbox.audience import Audience, dislike
from faces.kinds.sandbox.reactions import Moment, reactions
from training.engine import algorithms, diversity
from training.engine.finetune import Finetune
from training.engine.guards import TextIndex
from training.engine.models.causal import CausalLanguageModel
from training.engine.models.registry import STARTER, STARTER_FOLDER
from training.engine.online import PLAYED, run_round
from training.engine.round_types import OnlineConfig, RoundInput, RoundOutput, ScoredPost
from training.engine.types import FinetuneConfig, HistoricPost, OnStep, SamplingParams, TrainingPost

DEMO = Path(__file__).resolve().parents[2] / "training" / "demo" / "posts.csv"
FINETUNE: dict[str, Any] = {"max_epochs": 2.0}
HELDOUT_SHARE = 0.1
FROZEN_POSTS = 1000
FOLLOWERS = 2000.0
AGE_MINUTES = 1440.0
BEGAN = datetime(2026, 1, 5, 8, tzinfo=UTC)
WINDOW, LEVEL = 64, 1.0

Past = tuple[str, int, str]
"""A row of the demo's dataset: text, score, community."""


Play = Callable[[RoundInput, OnStep], RoundOutput]


def unwatched(round: RoundInput, on_step: OnStep) -> RoundOutput:
    """A round without the watchdog, which would hold a policy where it is: for peers, as their authors made them."""
    algorithm = algorithms.get(round.config.algorithm)
    return PLAYED[algorithm.learns_from](round, algorithm, on_step)


class SimulatedAudience(Protocol):
    """Who is written for. `name` is part of a trace's file name."""

    name: str

    def expected(self, texts: Sequence[str]) -> np.ndarray:
        """True expected reaction of each text (log units), as if each were the account's first post."""
        ...

    def history(self, rows: Sequence[Past]) -> tuple[HistoricPost, ...]:
        """The dataset as the learner is told of it: texts with scores in standard units."""
        ...


class SandboxAudience:
    """The audience of the sandbox face; history has the real scores that the demo's dataset comes with."""

    name = "sandbox"

    def expected(self, texts: Sequence[str]) -> np.ndarray:
        return Audience.load().expected(texts)

    def history(self, rows: Sequence[Past]) -> tuple[HistoricPost, ...]:
        """Scores on the scale of `training.history.historic_posts`: log1p less the community's mean, over all's sd."""
        logs = np.log1p(np.array([score for _, score, _ in rows], dtype=np.float64))
        communities = np.array([community for *_, community in rows])
        for community in set(communities):
            logs[communities == community] -= logs[communities == community].mean()
        return tuple(
            HistoricPost(text, float(value)) for (text, *_), value in zip(rows, logs / logs.std(), strict=True)
        )


@dataclass(frozen=True)
class PublishedPost:
    """`quality`: what the audience truly expects to think of it (0: mean of the frozen model's own posts, 1: their
    standard deviation), what it dislikes about copies of earlier posts taken off. `round` counts from 0.
    """

    text: str
    arm: str
    round: int
    quality: float
    reward: float
    predicted: float | None


@dataclass(frozen=True)
class Trace:
    """One simulated bot's life. `frozen` are texts of the frozen model; `metrics` and `decisions` are those of each
    round; `memorised` is the share of the learning arm's posts that are memorised.
    """

    method: str
    audience: str
    seed: int
    posts: tuple[PublishedPost, ...]
    frozen: tuple[str, ...]
    memorised: float
    metrics: tuple[dict[str, float], ...]
    decisions: tuple[tuple[str, ...], ...]
    seconds: float

    @property
    def learning(self) -> list[PublishedPost]:
        return [post for post in self.posts if post.arm == "learning"]

    def first(self, count: int) -> float:
        """Mean true quality of the first `count` posts of the learning arm."""
        return statistics.fmean(post.quality for post in self.learning[:count])

    def last(self, count: int) -> float:
        """Mean true quality of the last `count` posts of the learning arm."""
        return statistics.fmean(post.quality for post in self.learning[-count:])

    def posts_until(self, level: float = LEVEL, window: int = WINDOW) -> int | None:
        """Posts of the learning arm published when the mean of the last `window` of them first reaches `level`; None:
        never.
        """
        values = [post.quality for post in self.learning]
        means = np.convolve(values, np.ones(window) / window, mode="valid") if len(values) >= window else np.zeros(0)
        reached = np.flatnonzero(means >= level)
        return int(reached[0]) + window if reached.size else None

    def variety(self, recent: int | None = None) -> dict[str, float]:
        """distinct-2 of the (last `recent`) learning posts over the frozen model's at equal set size, and the share of
        near-duplicates among all of them.
        """
        texts = [post.text for post in self.learning]
        shown = texts[-recent:] if recent else texts
        return {
            "distinct_ratio": diversity.distinct_n(shown) / diversity.distinct_at(self.frozen, len(shown)),
            "duplicates": diversity.duplicate_rate(texts),
            "memorised": self.memorised,
        }

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".part")
        aside.write_text(json.dumps(asdict(self)))
        aside.replace(path)

    @classmethod
    def read(cls, path: Path) -> Trace:
        stored = json.loads(path.read_text())
        return cls(**{**stored, "posts": tuple(PublishedPost(**post) for post in stored["posts"])})


def simulate(
    config: OnlineConfig,
    audience: SimulatedAudience,
    seed: int,
    posts: int,
    *,
    method: str = "",
    play: Play = run_round,
    progress: Callable[[int, dict[str, float], tuple[str, ...]], None] = lambda published, metrics, decisions: None,
) -> Trace:
    """Publish and learn until `posts` posts are out, or the policy has collapsed. `progress` is told of each round:
    posts so far, its metrics and decisions; `play` plays them.
    """
    began = time.monotonic()
    start, history, frozen = finetuned(), audience.history(past()), frozen_texts()
    expected = audience.expected(frozen)
    zero, unit = float(expected.mean()), float(expected.std())
    with tempfile.TemporaryDirectory(prefix="kilroy-simulation-") as folder:
        bot = _Bot(config, audience, seed, start, history, Path(folder), play)
        while len(bot.published) < posts:
            try:
                metrics, decisions = bot.play(min(config.posts_per_round, posts - len(bot.published)))
            except Collapsed as end:
                print(f"{method} {audience.name} {seed}: {end}", file=sys.stderr)
                break
            progress(len(bot.published), metrics, decisions)
    learning = [text for text, arm, *_ in bot.published if arm == "learning"]
    return Trace(
        method=method or config.algorithm,
        audience=audience.name,
        seed=seed,
        posts=tuple(
            PublishedPost(text, arm, number, (truth - zero) / unit, reward, predicted)
            for text, arm, number, truth, reward, predicted in bot.published
        ),
        frozen=frozen,
        memorised=diversity.memorised_rate(learning, TextIndex(text for text, *_ in past())),
        metrics=tuple(bot.metrics),
        decisions=tuple(bot.decisions),
        seconds=time.monotonic() - began,
    )


class Collapsed(Exception):
    """The policy writes nothing any more that could be published: the guards refused every candidate."""


class _Bot:
    """One bot between its rounds."""

    def __init__(
        self,
        config: OnlineConfig,
        audience: SimulatedAudience,
        seed: int,
        start: Path,
        history: tuple[HistoricPost, ...],
        folder: Path,
        play: Play,
    ) -> None:
        self.config, self.audience, self.seed, self.folder = config, audience, seed, folder
        self._play = play
        self.start, self.policy, self.history = start, start, history
        self.published: list[tuple[str, str, int, float, float, float | None]] = []
        self.scored: list[ScoredPost] = []
        self.state: dict[str, Any] = {}
        self.metrics: list[dict[str, float]] = []
        self.decisions: list[tuple[str, ...]] = []
        self._random = np.random.default_rng(seed)

    def play(self, count: int) -> tuple[dict[str, float], tuple[str, ...]]:
        """One round of `count` posts: learn, propose, publish, wait for the rewards."""
        number = len(self.metrics)
        arms = [arm for _, arm, *_ in self.published]
        owed = self.config.baseline_share * (len(arms) + count) - arms.count("baseline")
        baseline = min(count, max(0, round(owed)))
        output = self._play(
            RoundInput(
                number=number,
                policy=self.policy,
                reference=self.start,
                workdir=self.folder / f"round-{number}",
                history=self.history,
                scored=tuple(self.scored),
                published_texts=tuple(text for text, *_ in self.published),
                learning_posts=count - baseline,
                baseline_posts=baseline,
                config=self.config,
                seed=self.seed,
                state=self.state,
                cache=cache_folder() / f"features-{self.audience.name}",
            ),
            lambda step, metrics: None,
        )
        if not output.proposals:
            raise Collapsed(f"Round {number} proposed nothing: {' '.join(output.decisions)}")
        if output.model is not None:
            if self.policy != self.start:
                shutil.rmtree(self.policy.parent)
            self.policy = output.model
        # A bot keeps its state in the database, as JSON.
        self.state = json.loads(json.dumps(output.state))
        # Shuffled, as the platform does: no arm always speaks first.
        for at in self._random.permutation(len(output.proposals)):
            proposal = output.proposals[int(at)]
            self._publish(proposal.text, proposal.arm, number, proposal.predicted)
        self.metrics.append(output.metrics)
        self.decisions.append(output.decisions)
        return output.metrics, output.decisions

    def _publish(self, text: str, arm: Any, number: int, predicted: float | None) -> None:
        order = len(self.published)
        at = BEGAN + timedelta(hours=order)
        earlier = [other for other, *_ in self.published]
        truth = float(self.audience.expected([text])[0]) - dislike(text, earlier)
        moment = Moment(expected=truth, followers=FOLLOWERS, published_at=at, asks="?" in text)
        likes = reactions(self.seed, str(order + 1), moment, AGE_MINUTES)["likes"]
        reward = math.log1p(likes) - math.log(FOLLOWERS)
        self.published.append((text, arm, number, truth, reward, predicted))
        hour = at.weekday() * 24 + at.hour
        self.scored.append(ScoredPost(str(order), text, arm, reward, hour, order, predicted))


def cache_folder() -> Path:
    """What runs share: `KILROY_BENCH_CACHE`, else a folder of this name among the temporary ones."""
    return Path(os.environ.get("KILROY_BENCH_CACHE") or Path(tempfile.gettempdir()) / "kilroy-bench")


@cache
def past() -> tuple[Past, ...]:
    """The demo's dataset, oldest first."""
    with DEMO.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["created_at"])
    return tuple((row["text"], int(row["score"]), row["community"]) for row in rows)


@cache
def finetuned() -> Path:
    """The starter, fine-tuned on the demo's dataset as `manage.py rehearse` does it; kept for the next run."""
    described = [repr(FINETUNE).encode(), DEMO.read_bytes(), (STARTER_FOLDER / "model.safetensors").read_bytes()]
    folder = cache_folder() / f"model-{hashlib.sha256(b''.join(described)).hexdigest()[:16]}"
    if not folder.exists():
        texts = [text for text, *_ in past()]
        heldout = round(len(texts) * HELDOUT_SHARE)
        train, test = ([TrainingPost(text) for text in part] for part in (texts[:-heldout], texts[-heldout:]))
        with tempfile.TemporaryDirectory(prefix="kilroy-finetune-", dir=_made(cache_folder())) as work:
            config = FinetuneConfig(**FINETUNE, samples_per_evaluation=0)
            training = Finetune(STARTER, train, test, config, Path(work))
            training.run(lambda: False, lambda step, metrics: None)
            training.finish(Path(work) / "model")
            (Path(work) / "model").rename(folder)
    return folder


@cache
def frozen_texts() -> tuple[str, ...]:
    """Posts of the frozen fine-tuned model, as it writes them."""
    path = finetuned() / "frozen.json"
    if not path.exists():
        model = CausalLanguageModel.load(str(finetuned()))
        drawn = model.generate([""] * FROZEN_POSTS, SamplingParams(max_new_tokens=OnlineConfig.max_new_tokens, seed=0))
        path.write_text(json.dumps([sample.text for sample in drawn]))
    return tuple(json.loads(path.read_text()))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
