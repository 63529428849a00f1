"""Why a post is what it is: who wrote it, what it beat, what was expected and what came, who looked at it, and when.

Plain values, from a post and what belongs to it; pages and the API show the same.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from bots.models import Decision, Post, ScoreObservation
from bots.post_serializers import chosen_over
from bots.states import PostState

MARKED = 2000
"""Characters of each text within which the longest shared run is looked for."""
COMPARED_WORDS = 400
"""Longer texts are shown whole, before and after, and not word by word."""
SURE = 1.96
"""So many standard deviations on each side hold 95 % of a normal distribution."""


@dataclass(frozen=True)
class Piece:
    """A part of a text."""

    text: str
    kind: Literal["same", "shared", "added", "removed"] = "same"


@dataclass(frozen=True)
class Edit:
    """What a person changed: the old text and the new one, piece by piece."""

    by: str
    at: datetime
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Forecast:
    """What the reward model expected before publication, in standard units, and what came; `low` to `high` held 95 %
    of what it thought possible.
    """

    predicted: float
    real: float | None
    low: float | None
    high: float | None

    @property
    def sentence(self) -> str:
        expected = f"Expected {_signed(self.predicted)} sd"
        if self.low is not None and self.high is not None:
            expected += f", with 95 % between {_signed(self.low)} and {_signed(self.high)}"
        if self.real is None:
            return f"{expected}; what came is not known yet."
        return f"{expected}; {_signed(self.real)} came{self._judgement()}."

    def _judgement(self) -> str:
        if self.real is None or self.low is None or self.high is None:
            return ""
        if self.low <= self.real <= self.high:
            return ", which it thought possible"
        return ", more than it thought possible" if self.real > self.high else ", less than it thought possible"

    def place(self, value: float) -> float:
        """Where a value stands on the drawn line, in hundredths of its length."""
        values = [each for each in (self.predicted, self.real, self.low, self.high, 0.0) if each is not None]
        low, high = min(values), max(values)
        return 4 + 92 * (value - low) / ((high - low) or 1.0)

    @property
    def drawn(self) -> dict[str, float | None]:
        """Where everything stands on the drawn line."""
        known = {"zero": 0.0, "predicted": self.predicted, "real": self.real, "low": self.low, "high": self.high}
        return {name: None if value is None else round(self.place(value), 2) for name, value in known.items()}


@dataclass(frozen=True)
class Step:
    """Something that happened to the post, or is about to."""

    at: datetime
    label: str
    detail: str = ""


@dataclass(frozen=True)
class Why:
    """Everything that is known; what is not is empty or None."""

    sentence: str
    candidates: list[dict[str, Any]]
    forecast: Forecast | None
    nearest: tuple[Piece, ...]
    shared_run: int | None
    edits: list[Edit]
    timeline: list[Step]


def explain(post: Post, reward: float | None) -> Why:
    """Why this post; `reward` is the post's in standard units, the scale of predictions, None while unknown."""
    provenance, decisions = post.provenance, list(post.decisions.all())
    candidates = chosen_over(post)
    return Why(
        sentence=_sentence(post, len(candidates)),
        candidates=candidates if len(candidates) > 1 else [],
        forecast=_forecast(provenance, reward),
        nearest=shared(provenance.get("nearest_text") or "", post.text),
        shared_run=provenance.get("shared_run"),
        edits=[
            Edit(each.by, each.at, changed(each.original_text, each.text))
            for each in decisions
            if each.choice == Decision.Choice.EDITED
        ],
        timeline=_timeline(post, decisions, list(post.observations.all())),
    )


def _sentence(post: Post, candidates: int) -> str:
    if post.arm == Post.Arm.HUMAN:
        return "A person wrote it."
    if post.arm == Post.Arm.BASELINE:
        return "The frozen fine-tuned model wrote it, as a yardstick: learning is measured against posts like this one."
    if post.kind == Post.Kind.REPLY:
        return "The model drew several answers; this one was chosen."
    if candidates > 1:
        return "The learning model wrote several candidates; this one promised the best reaction."
    return "The model wrote it."


def _forecast(provenance: dict[str, Any], reward: float | None) -> Forecast | None:
    predicted, sd = provenance.get("predicted"), provenance.get("predicted_sd")
    if predicted is None:
        return None
    if sd is None:
        return Forecast(predicted, reward, None, None)
    return Forecast(predicted, reward, predicted - SURE * sd, predicted + SURE * sd)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def shared(text: str, other: str) -> tuple[Piece, ...]:
    """The text with its longest run of characters that the other text holds, too; of long texts the beginnings are
    compared.
    """
    start, length = longest_run(text[:MARKED], other[:MARKED])
    if not length:
        return (Piece(text),) if text else ()
    end = start + length
    parts = (Piece(text[:start]), Piece(text[start:end], "shared"), Piece(text[end:]))
    return tuple(piece for piece in parts if piece.text)


def longest_run(text: str, other: str) -> tuple[int, int]:
    """Where the longest run of characters that both texts hold begins in the first, and its length; (0, 0) for none.

    When both hold a run of n characters, they hold one of n − 1: the length is found by halving, in
    O(m log m) comparisons of slices whatever the texts are.
    """
    low, high, start = 0, min(len(text), len(other)), 0
    while low < high:
        length = (low + high + 1) // 2
        runs = {other[at : at + length] for at in range(len(other) - length + 1)}
        found = next((at for at in range(len(text) - length + 1) if text[at : at + length] in runs), None)
        if found is None:
            high = length - 1
        else:
            low, start = length, found
    return start, low


def changed(before: str, after: str) -> tuple[Piece, ...]:
    """What became of a text, word by word; of a long one, the old and the new text whole."""
    old, new = (re.findall(r"\s+|\S+", text) for text in (before, after))
    if max(len(old), len(new)) > COMPARED_WORDS:
        return (Piece(before, "removed"), Piece(after, "added"))
    return tuple(_pieces(old, new))


def _pieces(old: Sequence[str], new: Sequence[str]) -> Iterator[Piece]:
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        removed, added = "".join(old[i1:i2]), "".join(new[j1:j2])
        if tag == "equal":
            yield Piece(removed)
            continue
        if removed:
            yield Piece(removed, "removed")
        if added:
            yield Piece(added, "added")


def _timeline(post: Post, decisions: Sequence[Decision], readings: Sequence[ScoreObservation]) -> list[Step]:
    """What happened, in order of time."""
    steps = [Step(post.created_at, "Proposed" if post.arm != Post.Arm.HUMAN else "Written")]
    steps += [Step(each.at, each.get_choice_display(), _by(each)) for each in decisions]
    if post.approved_at and not any(each.at == post.approved_at or _approved(each) for each in decisions):
        steps.append(Step(post.approved_at, "Approved", f"by {post.approved_by}" if post.approved_by else ""))
    if post.slot_utc:
        steps.append(Step(post.slot_utc, "Slot", "" if post.schedule_id else "chosen by a person"))
    if post.sent_at:
        steps.append(Step(post.sent_at, "Sent", f"attempt {post.attempts}" if post.attempts > 1 else ""))
    if post.published_at:
        steps.append(Step(post.published_at, "Published"))
    steps += [Step(each.observed_at, "Read", _counts(each)) for each in readings]
    if post.next_reading_at and post.state == PostState.PUBLISHED:
        steps.append(Step(post.next_reading_at, "Next reading"))
    return sorted(steps, key=lambda step: step.at)


def _approved(decision: Decision) -> bool:
    return decision.choice == Decision.Choice.APPROVED


def _by(decision: Decision) -> str:
    return f"by {decision.by}" + (f": {decision.reason}" if decision.reason else "")


def _counts(reading: ScoreObservation) -> str:
    return ", ".join(f"{value} {name}" for name, value in reading.metrics.items()) or "the platform gave none"
