"""Which charts a run's page has: some always, others only where the run measured what they draw."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from training.models import Run

ONLINE, OFFLINE = Run.Kind.ONLINE, Run.Kind.OFFLINE


@dataclass(frozen=True)
class Box:
    """One chart: `name` is its entry in static/js/chart-specs.js; without `only_with` it is always there."""

    kind: str
    name: str
    title: str
    note: str
    empty: str = "No round yet."
    layout: str = ""
    only_with: str = ""


BOXES = (
    Box(
        *(ONLINE, "reward", "Reward per round", "Mean with 95 % interval"),
        empty="The first round begins when enough posts have been scored.",
        layout="lead",
    ),
    Box(
        *(ONLINE, "lift", "Lift over the baseline", "Above zero, learning pays"),
        empty="Needs scores from both arms.",
        layout="beside",
    ),
    Box(ONLINE, "reward_sd", "Spread of reward", "Standard deviation over the learning arm"),
    Box(ONLINE, "kl", "Distance from the start", "KL to the fine-tuned model"),
    Box(ONLINE, "entropy", "Entropy", "How much choice the policy still has", empty="The policy has not moved yet."),
    Box(ONLINE, "distinct_2", "Diversity", "Share of different word pairs"),
    Box(ONLINE, "memorised", "Memorisation", "Share of posts with a long stretch of a training post"),
    Box(ONLINE, "foresight", "Foresight", "Predicted against real rewards", only_with="reward_model_correlation"),
    Box(ONLINE, "clip_share", "Clip share", "Tokens whose ratio was clipped", only_with="clip_share"),
    Box(ONLINE, "policy_loss", "Policy loss", "Of the round's last step", only_with="loss"),
    Box(ONLINE, "value_loss", "Critic's loss", "Mean squared error", only_with="value_loss"),
    Box(ONLINE, "round_seconds", "Time", "Seconds a round took"),
    Box(*(OFFLINE, "loss", "Loss", "Nats per token"), empty="The first step has not been taken yet.", layout="lead"),
    Box(
        *(OFFLINE, "memorised_samples", "Memorisation", "Samples with a long stretch of a training post"),
        empty="Measured at each evaluation.",
    ),
    Box(OFFLINE, "speed", "Speed", "Tokens per second", empty="Nothing measured yet."),
    Box(OFFLINE, "gradient_norm", "Gradient norm", "Before clipping", empty="Nothing measured yet."),
    Box(OFFLINE, "learning_rate", "Learning rate", "Its schedule", empty="Nothing measured yet."),
)


def boxes(kind: str, measured: Collection[str]) -> list[Box]:
    """The charts of a kind of run that has measured these metrics."""
    return [box for box in BOXES if box.kind == kind and (not box.only_with or box.only_with in measured)]
