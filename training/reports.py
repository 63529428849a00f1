"""Reports of rounds and versions, as pages show them: figures, small tables and sentences, whatever measured them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from training.settings_schema import shown

MOST_ROWS = 20
TITLES = {
    "guards": "Held back by the guards",
    "calibration": "Calibration: what was predicted and what came",
    "deciles": "Predicted and real, by tenth",
    "memorisation": "Memorised from the training posts",
    "quarantined": "Posts left out of training",
    "reward_model": "Reward model",
    "50%": "Within the 50 % interval",
    "80%": "Within the 80 % interval",
    "95%": "Within the 95 % interval",
    "auc": "AUC",
    "auc_author": "AUC, authors it has nothing of",
    "macro_auc_time": "Macro AUC, newest posts",
    "macro_auc_time_on": "Newest posts",
    "macro_auc_author": "Macro AUC, other authors",
    "macro_auc_author_on": "Other authors' posts",
    "by_time": "Newest posts",
    "by_time_on": "The newest are",
    "by_author": "Other authors",
    "by_author_on": "Other authors' are",
    "by_time_deciles_bayesian_linear": "Newest posts by tenth: Bayesian linear regression",
    "by_time_deciles_neural_ensemble": "Newest posts by tenth: with neural networks",
    "by_author_deciles_bayesian_linear": "Other authors by tenth: Bayesian linear regression",
    "by_author_deciles_neural_ensemble": "Other authors by tenth: with neural networks",
    "kl": "KL",
    "heldout_loss": "Held-out loss",
    "heldout_author_loss": "Held-out loss, new authors",
    "distinct_2": "Distinct-2",
    "reference_distinct_2": "Distinct-2 of the reference",
    "self_bleu": "Self-BLEU",
    "reward_sd": "Reward, sd",
}
COLUMNS = ("name", "decile", "low", "high", "predicted", "expected", "real", "observed", "posts", "count")
"""Columns that stand first, in this order: the database keeps none."""
BESIDE = frozenset({"watchdog", "canary", "rollback", "rolled_back"})
"""Parts of a round's report that have a place of their own."""


@dataclass(frozen=True)
class Table:
    """Rows of cells under their columns' names; the first cell of each row is its heading."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass
class Section:
    """One part of a report."""

    title: str
    figures: list[tuple[str, str]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def sections(report: Mapping[str, Any]) -> list[Section]:
    """The parts of a report that hold something."""
    found: list[Section] = []
    for name, value in report.items():
        if name not in BESIDE:
            section = Section(titled(name))
            _fill(section, name, value)
            if section.figures or section.tables or section.notes:
                found.append(section)
    return found


def titled(name: str) -> str:
    """A name of the engine's in words."""
    return TITLES.get(name, name.replace("_", " ").strip().capitalize())


def _fill(section: Section, name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        if value and all(isinstance(each, Mapping) for each in value.values()):
            rows = [{"name": titled(str(key)), **each} for key, each in value.items()]
            section.tables.append(_table(titled(name), rows))
            return
        for key, each in value.items():
            _fill(section, str(key), each)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if value and all(isinstance(each, Mapping) for each in value):
            section.tables.append(_table(titled(name), value))
        else:
            section.notes += [_cell(each) for each in value[:MOST_ROWS]]
    elif value not in (None, ""):
        section.figures.append((titled(name), _cell(value)))


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    names = list(dict.fromkeys(key for row in rows for key in row))
    columns = sorted(names, key=lambda name: COLUMNS.index(name) if name in COLUMNS else len(COLUMNS))
    cells = tuple(tuple(_cell(row.get(column)) for column in columns) for row in rows[:MOST_ROWS])
    return Table(title, tuple(titled(column) for column in columns), cells)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return shown(round(value, 3)) if abs(value) >= 0.001 else shown(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_cell(each) for each in value)
    return str(value)
