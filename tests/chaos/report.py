"""The judgement: what the platforms hold against what the database says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.chaos.platforms import Copies, Platform
from tests.chaos.posts import TAG


@dataclass
class Verdict:
    """What became of one publisher's posts. `told`: a line for each post that is wrong."""

    posts: int = 0
    lost: int = 0
    doubled: int = 0
    parked: int = 0
    rejected: int = 0
    by_face: Counter[str] = field(default_factory=Counter)
    lateness: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def copies_by_text(platforms: Iterable[Platform]) -> dict[str, list[str]]:
    """Tag of a text → the ids under which platforms hold it."""
    found: dict[str, list[str]] = defaultdict(list)
    for platform in platforms:
        copies: Copies = platform.copies()
        for remote_id, text in copies:
            if match := TAG.search(text):
                found[match[0]].append(remote_id)
    return found


def judge(rows: Iterable[Mapping[str, Any]], copies: Mapping[str, list[str]]) -> Verdict:
    """Compare rows (pk, text, state, remote_id, face, slot_utc, published_at, last_error) with what is there."""
    verdict = Verdict()
    for row in rows:
        there = copies.get(_tag(row["text"]), [])
        wrong = _wrong(row, there)
        verdict.posts += 1
        verdict.by_face[f"{row['face']} {wrong or row['state']}"] += 1
        verdict.doubled += wrong == "doubled"
        verdict.lost += wrong == "lost"
        verdict.parked += row["state"] == "needs_human"
        verdict.rejected += row["state"] == "rejected"
        if wrong:
            said = f"{row['state']} {row['remote_id'] or ''}: {row['last_error']}"
            verdict.told.append(f"{wrong}: {row['face']} {row['pk']} {_tag(row['text'])} is {there}, booked as {said}")
        if row["state"] == "published" and row["slot_utc"]:
            verdict.lateness.append((row["published_at"] - row["slot_utc"]).total_seconds())
    return verdict


def _wrong(row: Mapping[str, Any], there: list[str]) -> str:
    """ "doubled", "lost", or "" for a post that is published once, refused, or waits for a person."""
    if len(there) > 1:
        return "doubled"
    if row["state"] == "published":
        return "" if there == [row["remote_id"]] else "lost"
    if row["state"] == "rejected":
        return "lost" if there else ""
    return "" if row["state"] == "needs_human" else "lost"


def judge_naive(posts: Mapping[UUID, str], booked: Mapping[str, str], copies: Mapping[str, list[str]]) -> Verdict:
    """The same of the control arm: `posts` are its texts, `booked` the ids it noted, empty for what it gave up."""
    verdict = Verdict(posts=len(posts))
    for pk, text in posts.items():
        there, said = copies.get(_tag(text), []), booked.get(str(pk))
        verdict.doubled += len(there) > 1
        verdict.lost += bool(there) != bool(said) or (said is None and not there)
    return verdict


def _tag(text: str) -> str:
    match = TAG.search(text)
    assert match is not None
    return match[0]


def p95(values: list[float]) -> float:
    """The 95th percentile; 0 of nothing."""
    return sorted(values)[int(0.95 * (len(values) - 1))] if values else 0.0
