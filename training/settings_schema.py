"""Every setting of a run, described once: what forms, the API's schema and the validation in `training.configs` read.

A setting's name, type and default are those of its field in the configuration's dataclass; the rest stands in
`SETTINGS`. Whoever adds a field describes it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, get_type_hints

from training.engine.round_types import ALGORITHM_LABELS, REWARD_MODEL_LABELS
from training.engine.types import LEAST_TEMPERATURE

LARGEST = 1e300
"""Bound of numbers without a range of their own; infinities and NaN lie outside of it."""


@dataclass(frozen=True)
class Setting:
    """What a setting means and may be. `live`: it may be changed while a run lives, from the next round on. `basic`:
    shown to everybody, not folded away. `choices` are (value, label).
    """

    label: str
    help: str
    low: float = -LARGEST
    high: float = LARGEST
    choices: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    group: str = "More"
    basic: bool = False
    live: bool = False


@dataclass(frozen=True)
class Described:
    """A setting of one configuration, with what its dataclass says of it."""

    name: str
    type: type
    default: Any
    setting: Setting


LEARNING, CHOOSING, LIMITS, ROUNDS, TRIALS, MODEL, STOPPING = (
    "Learning", "Choosing posts", "Staying close", "When a round begins", "Trials", "Posts it writes", "When it stops",
)  # fmt: skip

SETTINGS: dict[str, Setting] = {
    "algorithm": Setting(
        "Algorithm",
        "How the model learns from reactions and decisions.",
        choices=tuple(ALGORITHM_LABELS.items()),
        group=LEARNING,
        basic=True,
        live=True,
    ),
    "reward_model": Setting(
        "Reward model",
        "What foretells the reactions to a post nobody has seen.",
        choices=tuple(REWARD_MODEL_LABELS.items()),
        group=LEARNING,
        live=True,
    ),
    "learning_rate": Setting(
        "Learning rate", "How far one step moves the weights.", 0.0, 1.0, group=LEARNING, basic=True, live=True
    ),
    "weight_decay": Setting("Weight decay", "How strongly weights are pulled towards zero.", 0.0, 10.0, group=LEARNING),
    "warmup_steps": Setting(
        "Warm-up", "Steps over which the learning rate rises to its value.", 0, 1_000_000, unit="steps", group=LEARNING
    ),
    "max_epochs": Setting(
        "Epochs",
        "How often each post is shown at most; training stops earlier when the held-out loss no longer falls.",
        0.01,
        1000,
        group=LEARNING,
        basic=True,
    ),
    "context": Setting("Row length", "Tokens that are read in one row.", 16, 4096, unit="tokens", group=LEARNING),
    "rows_per_step": Setting("Rows a step", "Rows that make one step.", 1, 1024, unit="rows", group=LEARNING),
    "clip_norm": Setting("Gradient clip", "Largest norm of a gradient; 0 clips nothing.", 0.0, 1000.0, group=LEARNING),
    "evaluate_every": Setting(
        "Evaluation", "Steps between two looks at the held-out posts.", 1, 100_000, unit="steps", group=STOPPING
    ),
    "patience": Setting(
        "Patience", "Evaluations without a better held-out loss before it stops.", 1, 1000, group=STOPPING, basic=True
    ),
    "heldout_rows": Setting("Held-out rows", "Rows kept back to judge by.", 1, 10_000, unit="rows", group=STOPPING),
    "samples_per_evaluation": Setting("Samples", "Texts drawn at each evaluation.", 0, 64, group=STOPPING),
    "method": Setting(
        "Method",
        "LoRA trains small matrices beside the weights: less memory and a smaller change.",
        choices=(("full", "All weights"), ("lora", "Low-rank adapters (LoRA)")),
        group=LEARNING,
        basic=True,
    ),
    "lora_rank": Setting("LoRA rank", "Width of the adapters.", 1, 1024, group=LEARNING),
    "lora_alpha": Setting(
        "LoRA scale", "An adapter counts by this number divided by the rank.", 0.0, 10_000.0, group=LEARNING
    ),
    "lora_dropout": Setting("LoRA dropout", "Share of an adapter's inputs left out.", 0.0, 0.9, group=LEARNING),
    "lora_targets": Setting(
        "LoRA layers",
        "Patterns of the layers that get an adapter, such as *.attn.*, separated by commas; empty: all linear layers.",
        group=LEARNING,
    ),
    "frozen": Setting(
        "Frozen weights",
        "Patterns of weights that stay as they are, such as *.wte.*, separated by commas.",
        group=LEARNING,
    ),
    "optimizer": Setting(
        "Optimizer",
        "How gradients move the weights.",
        choices=(
            ("adamw", "AdamW"),
            ("muon", "Muon for hidden matrices, AdamW for the rest"),
            ("adafactor", "Adafactor (least memory)"),
            ("sgd", "SGD with momentum"),
        ),
        group=LEARNING,
    ),
    "schedule": Setting(
        "Schedule",
        "How the learning rate goes on after the warm-up.",
        choices=(
            ("linear", "Falls evenly to 0"),
            ("cosine", "Falls to 0 as half a cosine"),
            ("constant", "Stays"),
            ("trapezoid", "Stays, and falls to 0 over the last 30 %"),
        ),
        group=LEARNING,
    ),
    "micro_rows": Setting(
        "Rows at once",
        "Rows of a step that are computed at once, to save memory; 0: all of them. The result is the same.",
        0,
        1024,
        unit="rows",
        group=LEARNING,
    ),
    "checkpoint_activations": Setting(
        "Compute activations twice", "Saves memory and costs about a third more time.", group=LEARNING
    ),
    "heldout_author_share": Setting(
        "Held-out authors",
        "Share of the posts whose authors are kept out of training, to see how it does on new ones; 0: none.",
        0.0,
        0.5,
        group=STOPPING,
    ),
    "conditions": Setting(
        "Conditions",
        "What the model reads before it writes: any of author, community, topic, context, separated by commas.",
        group=LEARNING,
    ),
    "condition_dropout": Setting(
        "Posts without conditions",
        "Share of the posts that are shown without their conditions, so that the model also writes unasked.",
        0.0,
        1.0,
        group=LEARNING,
    ),
    "mixing": Setting(
        "Several datasets",
        "Whether a large dataset counts for more than a small one.",
        choices=(("as_is", "Every post counts the same"), ("equal", "Every dataset counts the same")),
        group=LEARNING,
    ),
    "seed": Setting("Seed", "The same seed and data give the same model.", 0, 2**63 - 1),
    "posts_per_round": Setting(
        "Posts a round", "Posts that a round was designed for.", 1, 512, unit="posts", group=CHOOSING, live=True
    ),
    "baseline_share": Setting(
        "Baseline share",
        "Share of the posts that the frozen fine-tuned model writes: what the learning is measured against.",
        0.0,
        0.9,
        group=CHOOSING,
        basic=True,
        live=True,
    ),
    "candidates_per_post": Setting(
        "Candidates a post", "Texts drawn for each post proposed.", 1, 256, group=CHOOSING, basic=True, live=True
    ),
    "policy_steps": Setting(
        "Policy steps",
        "Steps of learning in a round; 0 only chooses among candidates.",
        0,
        64,
        unit="steps",
        group=LEARNING,
        live=True,
    ),
    "samples_per_step": Setting(
        "Samples a step", "Unpublished texts that a step learns from.", 2, 1024, group=LEARNING, live=True
    ),
    "min_scored_for_policy": Setting(
        "Scores before learning",
        "Scored posts there must be before the policy moves.",
        0,
        100_000,
        unit="posts",
        group=LEARNING,
        live=True,
    ),
    "kl_initial": Setting(
        "KL price at first", "The first price of a nat of KL, where nothing was learned yet.", 0.0, 100.0, group=LIMITS
    ),
    "kl_target": Setting(
        "KL target",
        "How far from the fine-tuned model the policy may go.",
        0.01,
        1000.0,
        unit="nats a post",
        group=LIMITS,
        basic=True,
        live=True,
    ),
    "advantage_clip": Setting(
        "Advantage clip", "Largest advantage of one post.", 0.1, 100.0, unit="sd", group=LIMITS, live=True
    ),
    "temperature": Setting(
        "Temperature", "1 draws as the model believes; less is safer.", LEAST_TEMPERATURE, 5.0, group=MODEL
    ),
    "top_k": Setting("Top k", "Draw among the k likeliest tokens; 0: all.", 0, 1_000_000, group=MODEL),
    "top_p": Setting("Top p", "Draw among the likeliest tokens of this total probability.", 0.0001, 1.0, group=MODEL),
    "min_p": Setting("Min p", "Drop tokens below this share of the likeliest one.", 0.0, 1.0, group=MODEL),
    "repetition_penalty": Setting("Repetition penalty", "Above 1: repeat less; 1: off.", 1.0, 10.0, group=MODEL),
    "max_new_tokens": Setting("Most tokens", "Where a text is cut off.", 1, 1024, unit="tokens", group=MODEL),
    "min_length": Setting(
        "Shortest post", "Shorter texts are not proposed.", 0, 100_000, unit="characters", group=MODEL, live=True
    ),
    "max_length": Setting(
        "Longest post", "Longer texts are not proposed.", 1, 100_000, unit="characters", group=MODEL, live=True
    ),
    "toxicity_model": Setting(
        "Toxicity classifier",
        "A text classifier of the hub (or a folder) that judges every post it proposes, for formulas with toxicity. "
        "Empty: the built-in word list alone.",
        group=MODEL,
        live=True,
    ),
    "extra": Setting("Extra numbers", "Numbers by name, for what has no setting of its own."),
    "min_new_scores": Setting(
        "New scores", "Rewards that must have come in since the last round.", 1, 10_000, group=ROUNDS, basic=True,
        live=True,
    ),
    "queue_ahead": Setting(
        "Queue", "Posts that a round tops the queue up to.", 1, 1000, unit="posts", group=ROUNDS, basic=True, live=True
    ),
    "stop_after_posts": Setting(
        "Stop after", "The run ends when that many posts have their reward; 0: never.", 0, 1_000_000, unit="posts",
        group=ROUNDS, live=True,
    ),
    "canary_share": Setting(
        "Trial share",
        "Share of the learning posts that a new version writes on trial before it may take over; 0: no trials.",
        0.0,
        0.9,
        group=TRIALS,
        live=True,
    ),
    "canary_posts": Setting(
        "Trial length",
        "Scored posts written on trial, by all its versions together, after which it is decided at the latest.",
        8,
        10_000,
        unit="posts",
        group=TRIALS,
        live=True,
    ),
}  # fmt: skip


USUAL_RATE = frozenset({"reward_model_rloo", "grpo", "best_of_n"})
"""Algorithms that go by `learning_rate` alone, or that learn nothing."""

EXTRAS: dict[str, str] = {
    "seed": "What rounds are drawn by, so that a run can be repeated; each run has its own otherwise.",
    "departure_weight": "Price of leaving the fine-tuned model, for reinforce, actor_critic and bespo; usually 10.",
    "entropy_weight": "Price of a change of entropy, for the same; usually 1.",
} | {
    f"{name}_learning_rate": f"Learning rate of {name}, in place of its usual one."
    for name in ALGORITHM_LABELS
    if name not in USUAL_RATE
}
"""Every number that `extra` may hold, with what it is for."""


@dataclass(frozen=True)
class Preset:
    """Named values to start from; what a person sets beside them wins. `reply_rules` are set with it where it is for a
    bot that answers.
    """

    label: str
    help: str
    config: Mapping[str, Any]
    reply_rules: Mapping[str, Any] = field(default_factory=dict)


ONLINE_PRESETS: dict[str, Preset] = {
    "default": Preset("Default", "A reward model in the loop.", {}),
    "careful": Preset(
        "Careful",
        "Half the distance, smaller steps, and every new version is tried on a quarter of the posts first.",
        {"learning_rate": 3e-5, "policy_steps": 1, "kl_target": 2.0, "canary_share": 0.25},
    ),
    "original": Preset(
        "The original Kilroy", "REINFORCE on published posts alone, to compare against.", {"algorithm": "reinforce"}
    ),
    "ten_drafts": Preset(
        "Ten cautious drafts",
        "The model stays as it is: the best of ten posts drawn at temperature 0.7, by a reward model.",
        {
            "algorithm": "best_of_n",
            "candidates_per_post": 10,
            "temperature": 0.7,
            "top_k": 40,
            "max_length": 999,
        },
    ),
    "best_of_n": Preset(
        "Best of n", "The model stays as it is; a reward model chooses among its texts.", {"policy_steps": 0}
    ),
}

OFFLINE_PRESETS: dict[str, Preset] = {
    "default": Preset("Default", "As the settings below say.", {}),
    "stedden": Preset(
        "Stedden's pipeline",
        "A bot that answers, from comment–reply pairs: the model reads what it answers, a discriminator drops replies "
        "that do not pass for a person's, and a model of upvotes in four classes ranks the rest. Sets the rules for "
        "replies too: ten candidates, realism above 0.9, sent 1 to 11 minutes after the comment.",
        # The discriminator learns from posts that the model has not: a fifth of them is kept from it.
        {"conditions": "context", "heldout_author_share": 0.2},
        # Comments younger than a minute are left to the next look, ten minutes later: a wait of 60 to 660 seconds.
        {"candidates": 10, "least_realism": 0.9, "youngest_minutes": 1, "every_minutes": 10},
    ),
}
PRESETS: dict[str, dict[str, Preset]] = {"offline": OFFLINE_PRESETS, "online": ONLINE_PRESETS}
"""Presets by kind of run and name."""


def described(config: type) -> list[Described]:
    """The settings of a configuration's dataclass, in its order."""
    hints = get_type_hints(config)
    found = []
    for each in fields(config):
        default = each.default if each.default_factory is MISSING else each.default_factory()
        setting = SETTINGS.get(each.name, Setting(each.name.replace("_", " ").capitalize(), ""))
        found.append(Described(each.name, hints[each.name], default, setting))
    return found


def shown(value: Any) -> str:
    """A setting's value as people write it: 7e-05 is 7e-5."""
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def json_schema(config: type) -> dict[str, Any]:
    """The configuration as a JSON Schema (draft 2020-12); `x-…` is what the standard has no word for."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {each.name: _property(each) for each in described(config)},
    }


_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def _property(each: Described) -> dict[str, Any]:
    setting = each.setting
    answer: dict[str, Any] = {
        "title": setting.label,
        "description": setting.help,
        "type": _JSON_TYPES.get(each.type, "object"),
        "default": each.default,
        "x-group": setting.group,
        "x-unit": setting.unit,
        "x-live": setting.live,
    }
    if each.type in (int, float):
        answer |= {"minimum": setting.low, "maximum": setting.high}
    if setting.choices:
        answer["enum"] = [value for value, _ in setting.choices]
    if answer["type"] == "object":
        answer["additionalProperties"] = False
        answer["properties"] = {name: {"type": "number", "description": told} for name, told in EXTRAS.items()}
    return answer
