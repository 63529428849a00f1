"""A run's configuration: JSON in, one of the engine's frozen dataclasses out, strictly."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, get_type_hints

from django.core.exceptions import ValidationError

from training.engine.types import FinetuneConfig, OnlineConfig, SamplingParams


@dataclass(frozen=True)
class OnlineRunConfig(OnlineConfig):
    """Online training as a run of the platform: the engine's knobs, and when a round is due.

    `min_new_scores`: rewards that must have come in since the last round. `queue_ahead`: how many posts a round tops
    the queue up to. `stop_after_posts`: the run finishes when that many posts have their reward (0: never).
    """

    min_new_scores: int = 8
    queue_ahead: int = 16
    stop_after_posts: int = 0

    def engine(self) -> OnlineConfig:
        own = {field.name for field in fields(OnlineConfig)}
        return OnlineConfig(**{name: value for name, value in self.__dict__.items() if name in own})


RANGES: dict[str, tuple[float, float]] = {
    "learning_rate": (0.0, 1.0),
    "weight_decay": (0.0, 10.0),
    "warmup_steps": (0, 1_000_000),
    "max_epochs": (0.01, 1000),
    "context": (16, 4096),
    "rows_per_step": (1, 1024),
    "evaluate_every": (1, 100_000),
    "patience": (1, 1000),
    "heldout_rows": (1, 10_000),
    "samples_per_evaluation": (0, 64),
    "clip_norm": (0.0, 1000.0),
    "seed": (0, 2**63 - 1),
    "posts_per_round": (1, 512),
    "baseline_share": (0.0, 0.9),
    "candidates_per_post": (1, 256),
    "policy_steps": (0, 64),
    "samples_per_step": (2, 1024),
    "min_scored_for_policy": (0, 100_000),
    "kl_initial": (0.0, 100.0),
    "kl_target": (0.01, 1000.0),
    "advantage_clip": (0.1, 100.0),
    "temperature": (0.0, 5.0),
    "top_k": (0, 1_000_000),
    "top_p": (0.0001, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (1.0, 10.0),
    "max_new_tokens": (1, 1024),
    "min_length": (0, 100_000),
    "max_length": (1, 100_000),
    "min_new_scores": (1, 10_000),
    "queue_ahead": (1, 1000),
    "stop_after_posts": (0, 1_000_000),
}
LARGEST = 1e300
"""Bound of numbers without a range of their own; infinities and NaN lie outside of it."""
ALGORITHMS = ("reward_model_rloo", "reinforce")


def finetune(values: Mapping[str, Any]) -> FinetuneConfig:
    """Raises ValidationError naming the setting that is unknown, of the wrong type or out of range."""
    return FinetuneConfig(**_checked(FinetuneConfig, values))


def online(values: Mapping[str, Any]) -> OnlineRunConfig:
    """Raises ValidationError naming the setting that is unknown, of the wrong type or out of range."""
    config = OnlineRunConfig(**_checked(OnlineRunConfig, values))
    if config.min_length > config.max_length:
        raise ValidationError({"config": "“min_length” must not be larger than “max_length”."})
    if config.algorithm not in ALGORITHMS:
        raise ValidationError(
            {"config": f"There is no algorithm “{config.algorithm}”. Known are: {', '.join(ALGORITHMS)}."}
        )
    return config


def sampling(values: Mapping[str, Any]) -> SamplingParams:
    """Raises ValidationError naming the setting that is unknown, of the wrong type or out of range."""
    return SamplingParams(**_checked(SamplingParams, values))


def as_json(config: Any) -> dict[str, Any]:
    return asdict(config)


def _checked(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise ValidationError({"config": "Give the configuration as an object of names and values."})
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}
    checked = {}
    for name, value in values.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean “{close[0]}”?" if close else ""
            raise ValidationError({"config": f"There is no setting “{name}”.{hint}"})
        checked[name] = _value(name, value, hints[name])
    return checked


def _value(name: str, value: Any, hint: Any) -> Any:
    if hint is str:
        if not isinstance(value, str):
            raise ValidationError({"config": f"“{name}” must be a text."})
        return value
    if hint not in (int, float):
        return _extra(name, value)
    if isinstance(value, bool) or not isinstance(value, int | float) or (hint is int and value % 1 != 0):
        raise ValidationError({"config": f"“{name}” must be a {'whole ' if hint is int else ''}number."})
    low, high = RANGES[name]
    if not low <= value <= high:  # also refuses NaN
        raise ValidationError({"config": f"“{name}” must lie between {low} and {high}."})
    return hint(value)


def _extra(name: str, value: Any) -> dict[str, float]:
    numbers = isinstance(value, Mapping) and all(
        isinstance(number, int | float) and not isinstance(number, bool) and -LARGEST < number < LARGEST
        for number in value.values()
    )
    if not numbers:
        raise ValidationError({"config": f"“{name}” must be an object whose values are numbers."})
    return dict(value)
