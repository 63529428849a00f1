"""What a round of online training is told, and what it answers: plain data, as in `types`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from training.engine import plugins
from training.engine.types import Arm, Decision, GeneratedImage, HistoricPost, LengthLimit, SamplingParams

Speaker = Literal["policy", "stable", "reference"]


@dataclass(frozen=True)
class ScoredPost:
    """A published post with its matured reward. `reward` is the bot's formula, not yet put on a common scale.

    `predicted` is what the reward model expected before publication (standard units) and `predicted_sd` how sure it was
    of that expectation, `hour_of_week` 0–167 in the bot's zone. `speaker` is who wrote it in the trial of a version
    that is under way: the "policy" on trial, or the "stable" version it is tried against; "" for all other posts.
    `noise` is the variance of the reward's own noise, 1 at full age and more for a young reading. `lineage` names the
    frozen version that the post's run began with: only posts of the round's lineage are compared. It is "" for posts
    that no run proposed (written ahead): they teach, but count in neither arm.
    """

    key: str
    text: str
    arm: Arm
    reward: float
    hour_of_week: int
    published_order: int
    predicted: float | None = None
    speaker: Literal["", "policy", "stable"] = ""
    predicted_sd: float | None = None
    noise: float = 1.0
    lineage: str = ""


ALGORITHM_LABELS: dict[str, str] = {
    "reward_model_rloo": "Reward model in the loop (recommended)",
    "grpo": "Reward model and group-relative steps (GRPO)",
    "best_of_n": "Best of N by the reward model, the model itself unchanged",
    "dpo": "DPO: what people preferred in the review queue",
    "kto": "KTO: what people approved and declined in the review queue",
    "ppo": "PPO on published posts",
    "reinforce": "Plain REINFORCE, for comparison",
    "actor_critic": "Actor-critic on published posts (ESPO), for comparison",
    "bespo": "Actor-critic on the critic's judgement (BESPO), for comparison",
}
ALGORITHM_LABELS |= {
    entry.name: f"{entry.name} ({entry.dist.name if entry.dist else 'a package'})"
    for entry in plugins.entries("kilroy.algorithms")
}
"""Online algorithms by name, the default first, each with what people are told it is; those of other packages last."""


REWARD_MODEL_LABELS: dict[str, str] = {
    "bayesian_linear": "Bayesian linear regression (recommended)",
    "neural_ensemble": "The same with small neural networks on top, for thousands of scores",
}
"""Reward models by name, the default first, each with what people are told it is."""


@dataclass(frozen=True)
class OnlineConfig:
    """Online training; the knobs and defaults of docs/learning.md."""

    algorithm: str = "reward_model_rloo"
    reward_model: str = "bayesian_linear"
    posts_per_round: int = 16
    baseline_share: float = 0.15
    candidates_per_post: int = 64
    learning_rate: float = 7e-5
    policy_steps: int = 2
    samples_per_step: int = 48
    min_scored_for_policy: int = 0
    kl_initial: float = 0.02
    kl_target: float = 4.0
    advantage_clip: float = 3.0
    temperature: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 64
    min_length: int = 12
    max_length: int = 280
    toxicity_model: str = ""
    extra: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundInput:
    """Everything one round of online training needs.

    `policy` and `reference` are model folders; the round may leave the new weights in `workdir/model`. `state` is what
    the last round returned in `RoundOutput.state` (empty for the first), `learned` what the round that made `policy`
    did ({} where none made it; None: the same as `state`). `cache` is a folder that outlives rounds, for what is costly
    to make again (features); without one, it is `workdir/cache`. `history` and people's `decisions` are in order of
    time: the reward model takes a trend out of the former's scores. `other_texts` are those of `published_texts` that
    the learning arm did not write (of scored posts the arm is known), `trial_texts` those that were written on trial.
    While a version is on trial, `policy` is that version and `stable` the one it is tried against, which writes
    `stable_posts` beside `learning_posts`. `hold` is why the policy is to stay as it is this round, or "". `lineage` is
    the round's own, as in `ScoredPost`.
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
    learned: Mapping[str, Any] | None = None
    cache: Path | None = None
    decisions: tuple[Decision, ...] = ()
    stable: Path | None = None
    stable_posts: int = 0
    trial_texts: tuple[str, ...] = ()
    limit: LengthLimit | None = None
    hold: str = ""
    lineage: str = ""
    other_texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """A post the round wants published, with where it came from: the provenance that its row keeps.

    `predicted` and `predicted_sd` are in standard units (None for the baseline arm before a reward model exists);
    `beaten` are the best candidates it was chosen over, best first, with their predictions; `nearest_text` is the
    closest training text and `shared_run` the longest run of characters it shares with it. `toxicity` is x in [0, 1]
    by the configuration's classifier, None where there is none.
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
    speaker: Speaker = "policy"
    images: tuple[GeneratedImage, ...] = ()
    toxicity: float | None = None


@dataclass(frozen=True)
class RoundOutput:
    """What a round did. `model` is the folder of the new weights, or None when the policy did not move; `decisions` are
    sentences for people ("No policy step: …"); `metrics` are plain numbers by standard name (reward_mean, kl, entropy,
    distinct_2, …); `report` is what has more than a number, as JSON-ready data (calibration by decile).
    """

    model: Path | None
    proposals: tuple[Proposal, ...]
    metrics: dict[str, float]
    decisions: tuple[str, ...]
    state: dict[str, Any]
    report: dict[str, Any] = field(default_factory=dict)
