"""A run's configuration: JSON in, one of the engine's frozen dataclasses out, strictly."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from django.core.exceptions import ValidationError

from training.engine.round_types import ALGORITHM_LABELS, OnlineConfig
from training.engine.types import CONDITIONS, FinetuneConfig, SamplingParams
from training.settings_schema import EXTRAS, LARGEST, Setting, described


@dataclass(frozen=True)
class OnlineRunConfig(OnlineConfig):
    """Online training as a run of the platform: the engine's knobs, and when a round is due.

    `min_new_scores`: rewards that must have come in since the last round. `queue_ahead`: how many posts a round tops
    the queue up to. `stop_after_posts`: the run finishes when that many posts have their reward (0: never).
    `canary_share`: share of the learning posts that a new version writes on trial (0: it takes over at once);
    `canary_posts`: after how many scored posts, by all its versions together, a trial is decided at the latest.
    """

    min_new_scores: int = 8
    queue_ahead: int = 16
    stop_after_posts: int = 0
    canary_share: float = 0.0
    canary_posts: int = 32

    def engine(self) -> OnlineConfig:
        own = {field.name for field in fields(OnlineConfig)}
        return OnlineConfig(**{name: value for name, value in self.__dict__.items() if name in own})


ALGORITHMS = tuple(ALGORITHM_LABELS)


def finetune(values: Mapping[str, Any]) -> FinetuneConfig:
    """Raises ValidationError naming the setting that is unknown, of the wrong type or out of range."""
    config = FinetuneConfig(**_checked(FinetuneConfig, values))
    for name in filter(None, map(str.strip, config.conditions.split(","))):
        if name not in CONDITIONS:
            raise ValidationError({"config": f"There is no condition “{name}”. Known are: {', '.join(CONDITIONS)}."})
    return config


def online(values: Mapping[str, Any], longest: int | None = None) -> OnlineRunConfig:
    """`max_length` becomes `longest`, what the bot's platform takes, where it is more. Raises ValidationError naming
    the setting that is unknown, of the wrong type or out of range.
    """
    config = OnlineRunConfig(**check_online(values))
    where = ""
    if longest is not None and config.max_length > longest:
        config, where = replace(config, max_length=longest), f", which is {longest} at most on this bot's platform"
    if config.min_length > config.max_length:
        raise ValidationError({"config": f"“min_length” must not be larger than “max_length”{where}."})
    return config


def new_online(values: Mapping[str, Any], longest: int) -> OnlineRunConfig:
    """As `online`, for a run that is to begin: also raises for an extra number that nothing reads. A run that began
    before a name was given up keeps it.
    """
    config = online(values, longest)
    for name in config.extra:
        if name not in EXTRAS:
            raise ValidationError(
                {"config": f"There is no extra number “{name}”.{_meant(name, EXTRAS)} Known are: {', '.join(EXTRAS)}."}
            )
    return config


def check_online(values: Mapping[str, Any]) -> dict[str, Any]:
    """Some settings of online training, each by itself. Raises ValidationError naming the one that is unknown, of the
    wrong type or out of range.
    """
    return _checked(OnlineRunConfig, values)


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean “{close[0]}”?" if close else ""


def sampling(values: Mapping[str, Any]) -> SamplingParams:
    """Raises ValidationError naming the setting that is unknown, of the wrong type or out of range."""
    return SamplingParams(**_checked(SamplingParams, values))


def as_json(config: Any) -> dict[str, Any]:
    return asdict(config)


def _checked(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise ValidationError({"config": "Give the configuration as an object of names and values."})
    known = {each.name: each for each in described(kind)}
    checked = {}
    for name, value in values.items():
        if name not in known:
            raise ValidationError({"config": f"There is no setting “{name}”.{_meant(name, known)}"})
        checked[name] = _value(name, value, known[name].type, known[name].setting)
    return checked


def _value(name: str, value: Any, kind: type, setting: Setting) -> Any:
    if kind is str:
        return _text(name, value, setting)
    if kind is bool:
        if not isinstance(value, bool):
            raise ValidationError({"config": f"“{name}” must be true or false."})
        return value
    if kind not in (int, float):
        return _extra(name, value)
    whole = kind is int
    if isinstance(value, bool) or not isinstance(value, int | float) or (whole and value % 1 != 0):
        raise ValidationError({"config": f"“{name}” must be a {'whole ' if whole else ''}number."})
    if not setting.low <= value <= setting.high:  # also refuses NaN
        raise ValidationError({"config": f"“{name}” must lie between {setting.low} and {setting.high}."})
    return kind(value)


def _text(name: str, value: Any, setting: Setting) -> str:
    if not isinstance(value, str):
        raise ValidationError({"config": f"“{name}” must be a text."})
    known = [choice for choice, _ in setting.choices]
    if known and value not in known:
        raise ValidationError({"config": f"There is no {name} “{value}”. Known are: {', '.join(known)}."})
    return value


def _extra(name: str, value: Any) -> dict[str, float]:
    numbers = isinstance(value, Mapping) and all(
        isinstance(number, int | float) and not isinstance(number, bool) and -LARGEST < number < LARGEST
        for number in value.values()
    )
    if not numbers:
        raise ValidationError({"config": f"“{name}” must be an object whose values are numbers."})
    return dict(value)
