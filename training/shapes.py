"""What stands in the JSON columns of trainings, for the API's schema: serializers here only describe."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from rest_framework import serializers

from training.configs import OnlineRunConfig
from training.engine.types import FinetuneConfig
from training.imports.contract import Columns
from training.imports.filters import FILTERS
from training.settings_schema import json_schema

NUMBERS = {"type": "object", "additionalProperties": {"type": "number", "nullable": True}}
"""Name → number; null: not known."""
TEXTS = {"type": "array", "items": {"type": "string"}}
COLUMNS = {
    "type": "object",
    "properties": {field.name: {"type": "string", "nullable": True} for field in fields(Columns)},
    "description": "Part → the column that plays it; null: none does.",
}
ANYTHING = {"type": "object", "additionalProperties": {}}
POINT = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
PIECE = {"oneOf": [{"type": "string"}, {"type": "number"}]}
SERIES = {
    "type": "object",
    "additionalProperties": {"type": "array", "items": POINT},
    "description": "Metric → [[step, value], …].",
}


def _settings(*configs: type) -> dict[str, Any]:
    """What a configuration may hold; nothing is required, since everything has a default."""
    found: dict[str, Any] = {}
    for config in configs:
        for name, schema in json_schema(config)["properties"].items():
            kept = {key: value for key, value in schema.items() if not key.startswith("x-")}
            known = found.setdefault(name, kept)
            if known != kept:  # both kinds of run have it, with other bounds or defaults
                found[name] = {key: value for key, value in kept.items() if known.get(key) == value}
    for schema in found.values():
        schema.pop("default", None)
    return {"type": "object", "properties": found}


# Each is a component of its own: (name, schema).
OFFLINE = ("FineTuningSettings", _settings(FinetuneConfig))
ONLINE = ("OnlineSettings", _settings(OnlineRunConfig))
EITHER = ("RunSettings", _settings(FinetuneConfig, OnlineRunConfig))


def _parameters(name: str) -> dict[str, Any]:
    kinds = {
        "number": lambda each: {"type": "number", "minimum": each.low, "maximum": each.high},
        "words": lambda each: TEXTS,
    }
    known = FILTERS[name].parameters
    properties = {key: kinds[each.kind](each) | {"description": each.label} for key, each in known.items()}
    return {"type": "object", "description": FILTERS[name].description, "properties": properties}


CHOSEN_FILTERS = (
    "ChosenFilters",
    {
        "type": "object",
        "description": "Filter → its parameters; those that are missing have their defaults.",
        "properties": {name: _parameters(name) for name in FILTERS},
    },
)


KNOWN_FILTERS = {
    "type": "object",
    "description": "Filter → what it is.",
    "additionalProperties": {
        "type": "object",
        "required": ["label", "description", "parameters"],
        "properties": {
            "label": {"type": "string"},
            "description": {"type": "string"},
            "parameters": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["label", "kind", "default", "low", "high"],
                    "properties": {
                        "label": {"type": "string"},
                        "kind": {"type": "string", "enum": ["number", "words"]},
                        "default": {"oneOf": [{"type": "number"}, TEXTS]},
                        "low": {"type": "number"},
                        "high": {"type": "number"},
                    },
                },
            },
        },
    },
}


class DrawingSerializer(serializers.Serializer[Any]):
    """How texts are drawn."""

    temperature = serializers.FloatField(required=False)
    top_k = serializers.IntegerField(required=False)
    top_p = serializers.FloatField(required=False)
    min_p = serializers.FloatField(required=False)
    repetition_penalty = serializers.FloatField(required=False)
    max_new_tokens = serializers.IntegerField(required=False)
    seed = serializers.IntegerField(required=False)
    scores = serializers.BooleanField(required=False, help_text="Whether the critics judged the texts.")


class ScoresSerializer(serializers.Serializer[Any]):
    """What is thought of a text; what is missing is not known."""

    predicted = serializers.FloatField(required=False, help_text="Expected reward, in standard units.")
    predicted_sd = serializers.FloatField(required=False, help_text="How sure that is: one standard deviation.")
    realism = serializers.FloatField(required=False, help_text="Probability that it passes for a person's.")
    nearest_text = serializers.CharField(required=False, help_text="The closest text of the training.")
    shared_run = serializers.IntegerField(required=False, help_text="Characters in a row that both share.")
    notes = serializers.ListField(child=serializers.CharField(), help_text="Why something is not known.")


class DrawnSerializer(serializers.Serializer[Any]):
    """A text that a model drew."""

    text = serializers.CharField()
    logprob = serializers.FloatField(help_text="Of the whole text.")
    ended = serializers.BooleanField(help_text="Whether the model ended it by itself.")
    tokens = serializers.IntegerField()
    pieces = serializers.ListField(
        child=serializers.ListField(), help_text="[[what a token added, its log-probability], …]."
    )
    scores = ScoresSerializer(required=False)

    class Meta:
        json_fields = {"pieces": {"type": "array", "items": {"type": "array", "items": PIECE}}}


class ProgressSerializer(serializers.Serializer[Any]):
    """How far a fine-tuning run is, or why a run waits."""

    step = serializers.IntegerField(required=False)
    total = serializers.IntegerField(required=False)
    best_heldout_loss = serializers.FloatField(required=False, allow_null=True)
    reason = serializers.CharField(required=False, help_text="Why it ended.")
    quarantined = serializers.IntegerField(required=False, help_text="Posts left out: they broke training twice.")
    notes = serializers.ListField(child=serializers.CharField(), required=False)
    stumbles = serializers.IntegerField(required=False, help_text="How often in a row it broke off.")
    waits = serializers.CharField(required=False, help_text="Why it waits.")


class BrokenRowSerializer(serializers.Serializer[Any]):
    row = serializers.IntegerField()
    reason = serializers.CharField()


class SampleRowSerializer(serializers.Serializer[Any]):
    row = serializers.IntegerField()
    text = serializers.CharField()
    score = serializers.FloatField(allow_null=True)
    author = serializers.CharField()
    community = serializers.CharField()
    topic = serializers.CharField()
    context = serializers.CharField()  # type: ignore[assignment]  # a field has a context, too
    created_at = serializers.DateTimeField(allow_null=True)


class DroppedRowSerializer(serializers.Serializer[Any]):
    row = serializers.IntegerField()
    text = serializers.CharField()
    reason = serializers.CharField()


class FilterReportSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field has a label, too
    dropped = serializers.IntegerField()
    examples = DroppedRowSerializer(many=True)


class PreviewSerializer(serializers.Serializer[Any]):
    """What an import would do; of a refused file only some of it is known, of a dataset without one nothing."""

    columns_found = serializers.ListField(child=serializers.CharField(), required=False)
    kept = serializers.IntegerField(required=False)
    dropped = serializers.DictField(
        child=serializers.IntegerField(), required=False, help_text="Filter → rows that it leaves out."
    )
    dropped_rows = serializers.DictField(
        child=serializers.ListField(child=serializers.IntegerField()), required=False, help_text="The first of them."
    )
    problems = BrokenRowSerializer(many=True, required=False)
    problem_count = serializers.IntegerField(required=False)
    has_scores = serializers.BooleanField(required=False)
    ok = serializers.BooleanField(required=False, help_text="Whether it can be imported as it is.")
    sample = SampleRowSerializer(many=True, required=False)
    looked_at = serializers.IntegerField(required=False, help_text="Rows of the file that were looked at.")
    complete = serializers.BooleanField(required=False, help_text="Whether these were all.")
    chosen = serializers.DictField(required=False)
    filters = FilterReportSerializer(many=True, required=False)

    class Meta:
        json_fields = {"chosen": CHOSEN_FILTERS}


class PresetSerializer(serializers.Serializer[Any]):
    title = serializers.CharField()
    description = serializers.CharField()
    config = serializers.DictField()
    reply_rules = serializers.DictField(help_text="What it sets of the bot's rules for replies.")

    class Meta:
        json_fields = {"config": EITHER, "reply_rules": ANYTHING}


class SettingsSchemaSerializer(serializers.Serializer[Any]):
    """A JSON Schema for each kind of run, and named configurations of each."""

    offline = serializers.DictField()
    online = serializers.DictField()
    presets = serializers.DictField(child=PresetSerializer(), help_text="Of online learning.")
    offline_presets = serializers.DictField(child=PresetSerializer(), help_text="Of fine-tuning.")
