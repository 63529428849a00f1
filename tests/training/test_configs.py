"""One description of every setting: validation, forms and the API's schema read the same."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from bots.models import Bot
from tests.factories import make_run
from training import configs, settings_forms
from training.configs import OnlineRunConfig
from training.engine.algorithms import ALGORITHMS
from training.engine.round_types import ALGORITHM_LABELS
from training.engine.types import FinetuneConfig, SamplingParams
from training.models import Dataset
from training.settings_schema import EXTRAS, LARGEST, ONLINE_PRESETS, SETTINGS, described, json_schema, shown

KINDS = [FinetuneConfig, OnlineRunConfig, SamplingParams]


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_described(kind: type) -> None:
    missing = {each.name for each in described(kind)} - set(SETTINGS)
    assert missing == set()
    for each in described(kind):
        assert each.setting.label, each.name
        assert each.setting.help, each.name
        if each.type in (int, float):
            assert -LARGEST < each.setting.low <= each.default <= each.setting.high < LARGEST, each.name
        if each.setting.choices:
            assert each.default in dict(each.setting.choices), each.name


def test_nothing_is_described_that_is_no_setting() -> None:
    assert set(SETTINGS) == {each.name for kind in KINDS for each in described(kind)}


def test_the_defaults_are_valid_by_their_own_rules() -> None:
    assert configs.online(configs.as_json(OnlineRunConfig())) == OnlineRunConfig()
    assert configs.finetune(configs.as_json(FinetuneConfig())) == FinetuneConfig()


@pytest.mark.parametrize("preset", ONLINE_PRESETS)
def test_every_preset_is_a_valid_start(preset: str) -> None:
    config = dict(ONLINE_PRESETS[preset].config)
    assert configs.as_json(configs.online(config)).items() >= config.items()


def test_the_schema_says_what_validation_does() -> None:
    schema = json_schema(OnlineRunConfig)
    rate = schema["properties"]["learning_rate"]
    assert (rate["type"], rate["minimum"], rate["maximum"], rate["default"]) == ("number", 0.0, 1.0, 7e-5)
    assert (rate["x-live"], schema["properties"]["temperature"]["x-live"]) == (True, False)
    assert schema["properties"]["algorithm"]["enum"] == list(ALGORITHM_LABELS)
    assert schema["properties"]["extra"] == schema["properties"]["extra"] | {
        "type": "object",
        "additionalProperties": False,
    }
    assert set(schema["properties"]["extra"]["properties"]) == set(EXTRAS)
    assert schema["properties"]["extra"]["properties"]["seed"] == {"type": "number", "description": EXTRAS["seed"]}
    assert schema["additionalProperties"] is False


def test_extra_numbers_are_those_that_a_round_reads() -> None:
    own_rate = {name for name, each in ALGORITHMS.items() if each.learns_from in ("published", "critic", "decisions")}
    rates = {f"{name}_learning_rate" for name in own_rate}
    assert set(EXTRAS) == {"seed", "departure_weight", "entropy_weight"} | rates


def test_an_extra_number_that_nothing_reads_is_refused_where_a_run_begins() -> None:
    with pytest.raises(ValidationError) as error:
        configs.new_online({"extra": {"departur_weight": 1}}, 280)
    assert " ".join(error.value.messages) == (
        "There is no extra number “departur_weight”. Did you mean “departure_weight”? Known are: seed, "
        "departure_weight, entropy_weight, dpo_learning_rate, kto_learning_rate, ppo_learning_rate, "
        "reinforce_learning_rate, actor_critic_learning_rate, bespo_learning_rate."
    )
    assert configs.online({"extra": {"departur_weight": 1}}).extra == {"departur_weight": 1}  # one that began before
    extra = dict.fromkeys(EXTRAS, 1)
    assert configs.new_online({"extra": extra}, 280).extra == extra


def test_a_number_is_shown_as_people_write_it() -> None:
    values = [shown(value) for value in (7e-5, 1e-4, 0.15, 4.0, 16, "dpo")]
    assert values == ["7e-5", "0.0001", "0.15", "4", "16", "dpo"]


def test_an_empty_field_says_nothing(bot: Bot, dataset: Dataset) -> None:
    form = settings_forms.start_form("online", {"online-learning_rate": "1e-4", "online-queue_ahead": ""})
    assert form.is_valid(), form.errors
    assert form.changes() == {"learning_rate": 1e-4}


def test_a_form_refuses_what_lies_out_of_range(bot: Bot) -> None:
    form = settings_forms.start_form("online", {"online-baseline_share": "0.95", "online-algorithm": "magic"})
    assert not form.is_valid()
    assert set(form.errors) == {"baseline_share", "algorithm"}


def test_only_what_may_change_is_in_the_form_of_a_living_run(bot: Bot) -> None:
    run = make_run(bot, "online", config=configs.as_json(OnlineRunConfig()))
    names = set(settings_forms.change_form(run).fields)
    assert {"learning_rate", "algorithm", "canary_share"} <= names
    assert names & {"temperature", "max_new_tokens", "extra", "kl_initial"} == set()


def test_every_setting_with_a_field_is_in_its_form_once() -> None:
    form = settings_forms.start_form("offline")
    listed = [field.name for field in form.basic()] + [field.name for _, group in form.groups() for field in group]
    assert sorted(listed) == sorted(form.fields)


@pytest.mark.parametrize("value", [1, "true", None])
def test_yes_or_no_is_nothing_else(value: Any) -> None:
    with pytest.raises(ValidationError, match="must be true or false"):
        configs.finetune({"checkpoint_activations": value})
