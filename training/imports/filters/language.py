"""Posts in other languages than the wanted ones; a language that does not show is kept."""

from __future__ import annotations

from collections.abc import Sequence

from bots.languages import NAMES, language_of
from training.imports.contract import ImportedRow
from training.imports.filters import Check


def other_languages(languages: Sequence[str]) -> Check:
    wanted = frozenset(language.casefold() for language in languages)

    def check(row: ImportedRow) -> str | None:
        found = language_of(row.text)
        return f"looks like {NAMES[found]}" if found and found not in wanted else None

    return check
