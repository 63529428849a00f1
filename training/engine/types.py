"""Plain data that crosses the border of the engine: no Django, no torch.

Everything the engine is told and everything it answers is one of these, so that rows can become batches (and answers
rows) in a process that never loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Arm = Literal["learning", "baseline"]
Metrics = Mapping[str, float]
OnStep = Callable[[int, Metrics], None]
"""Called with the step's number and its metrics; must be quick, it runs inside the training loop."""


@dataclass(frozen=True)
class SamplingParams:
    """How to draw text. `top_k=0`, `top_p=1.0`, `min_p=0.0` and `repetition_penalty=1.0` switch the filters off;
    `max_new_tokens` is a hard limit.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 64
    seed: int = 0


@dataclass(frozen=True)
class LengthLimit:
    """A hard limit of a text's length, in the units that `count` counts in: a face's own way of counting."""

    maximum: int
    count: Callable[[str], int] = len


@dataclass(frozen=True)
class Conditions:
    """What a post was, or is to be, written under; "" where nothing is known. `context` is what it answers, oldest
    first.
    """

    author: str = ""
    community: str = ""
    topic: str = ""
    context: str = ""


@dataclass(frozen=True)
class Prompt:
    """How a text is to begin: conditions the model reads, and words it must go on from."""

    prefix: str = ""
    conditions: Conditions = Conditions()


@dataclass(frozen=True)
class TrainingPost:
    """A post to learn from. `key` names it in reports; `weight` 2 shows it twice as often as weight 1."""

    text: str
    key: str = ""
    conditions: Conditions = Conditions()
    weight: float = 1.0


@dataclass(frozen=True)
class Decision:
    """What a person said of a proposed post; `rewritten` is what they made of it, where they edited it."""

    text: str
    verdict: Literal["approved", "declined"]
    rewritten: str = ""


@dataclass(frozen=True)
class GeneratedImage:
    """An image of a language model that draws: encoded bytes, their media type and a description for people who cannot
    see it.
    """

    content: bytes
    media_type: str
    alt_text: str


@dataclass(frozen=True)
class Sample:
    """One drawn post. `logprob` is the sum over its tokens in nats; `ended` is whether it reached the end token by
    itself.
    """

    text: str
    token_ids: tuple[int, ...]
    logprob: float
    ended: bool
    prompt: str = ""
    images: tuple[GeneratedImage, ...] = ()


@dataclass(frozen=True)
class FinetuneConfig:
    """Offline training. Defaults suit the starter model on a few thousand posts and two CPU cores."""

    learning_rate: float = 5e-4
    weight_decay: float = 0.1
    warmup_steps: int = 20
    max_epochs: float = 3.0
    context: int = 256
    rows_per_step: int = 8
    evaluate_every: int = 20
    patience: int = 3
    heldout_rows: int = 64
    samples_per_evaluation: int = 4
    clip_norm: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class FinetuneReport:
    """Where a slice of offline training ended. Losses are in nats per token."""

    step: int
    total_steps: int
    finished: bool
    best_heldout_loss: float | None
    best_step: int
    samples: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class HistoricPost:
    """A post the bot did not write, with its reaction already put on a common scale (`score`: standard units), if it is
    known.
    """

    text: str
    score: float | None = None


@dataclass(frozen=True)
class ScoredPost:
    """A published post with its matured reward. `reward` is the bot's formula, not yet put on a common scale.

    `predicted` is what the reward model expected before publication (standard units), `hour_of_week` 0–167 in the bot's
    zone.
    """

    key: str
    text: str
    arm: Arm
    reward: float
    hour_of_week: int
    published_order: int
    predicted: float | None = None


@dataclass(frozen=True)
class OnlineConfig:
    """Online training; the knobs and defaults of docs/learning.md."""

    algorithm: str = "reward_model_rloo"
    posts_per_round: int = 16
    baseline_share: float = 0.15
    candidates_per_post: int = 32
    learning_rate: float = 7e-5
    policy_steps: int = 2
    samples_per_step: int = 48
    min_scored_for_policy: int = 0
    kl_initial: float = 0.02
    kl_target: float = 4.0
    advantage_clip: float = 3.0
    temperature: float = 1.0
    max_new_tokens: int = 64
    min_length: int = 12
    max_length: int = 280
    extra: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundInput:
    """Everything one round of online training needs.

    `policy` and `reference` are model folders; `workdir` is where the round may leave the new weights
    (`workdir/model`). `state` is what the last round returned in `RoundOutput.state` (empty for the first). `cache` is
    a folder that outlives rounds, for what is costly to make again (features); without one, `workdir/cache` is used and
    made anew for each workdir. `history` is in order of time: the reward model takes a trend over it out of its scores.
    `decisions` are people's, in order of time. While a version is on trial, `policy` is that version and `stable` the
    one it is tried against, which writes `stable_posts` of the learning arm's posts beside `learning_posts`. `limit` is
    the platform's, counted its own way.
    """

    number: int
    policy: Path
    reference: Path
    workdir: Path
    history: tuple[HistoricPost, ...]
    scored: tuple[ScoredPost, ...]
    published_texts: tuple[str, ...]
    learning_posts: int
    baseline_posts: int
    config: OnlineConfig
    seed: int
    state: Mapping[str, Any] = field(default_factory=dict)
    cache: Path | None = None
    decisions: tuple[Decision, ...] = ()
    stable: Path | None = None
    stable_posts: int = 0
    limit: LengthLimit | None = None


@dataclass(frozen=True)
class Proposal:
    """A post the round wants published, with where it came from: the provenance that its row keeps.

    `predicted` and `predicted_sd` are in standard units (None for the baseline arm before a reward model exists);
    `beaten` are the best candidates it was chosen over, best first, with their predictions; `nearest_text` is the
    closest training text and `shared_run` the longest run of characters it shares with it.
    """

    text: str
    arm: Arm
    logprob: float
    sampling: SamplingParams
    predicted: float | None = None
    predicted_sd: float | None = None
    beaten: tuple[tuple[str, float], ...] = ()
    nearest_text: str = ""
    shared_run: int = 0
    speaker: Literal["policy", "stable", "reference"] = "policy"
    images: tuple[GeneratedImage, ...] = ()


@dataclass(frozen=True)
class RoundOutput:
    """What a round did. `model` is the folder of the new weights, or None when the policy did not move; `decisions` are
    sentences for people ("No policy step: …"); `metrics` are plain numbers by standard name (reward_mean, kl, entropy,
    distinct_2, …); `report` is what has more than a number, as JSON-ready data (calibration by decile, the watchdog's
    readings).
    """

    model: Path | None
    proposals: tuple[Proposal, ...]
    metrics: dict[str, float]
    decisions: tuple[str, ...]
    state: dict[str, Any]
    report: dict[str, Any] = field(default_factory=dict)
