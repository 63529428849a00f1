"""The file formats Kilroy reads: name → label, file endings and opener, imported on first use.

An opener takes `(source: TextSource, columns: Columns | None, limits: Limits)`, returns a `Table`, and raises
ImportRefused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.imports.contract import Columns, Limits, Table
    from training.imports.source import TextSource

    Opener = Callable[[TextSource, Columns | None, Limits], Table]


@dataclass(frozen=True)
class DatasetFormat:
    """One entry: `endings` in lower case with the dot, `opener` a dotted path."""

    label: str
    endings: tuple[str, ...]
    opener: str

    def load(self) -> Opener:
        module, _, name = self.opener.rpartition(".")
        opener: Opener = getattr(import_module(module), name)
        return opener


FORMATS: dict[str, DatasetFormat] = {
    "csv": DatasetFormat("CSV", (".csv", ".tsv"), "training.imports.kinds.csv_file.open_csv"),
    "json": DatasetFormat("JSON", (".json",), "training.imports.kinds.json_file.open_json"),
    "jsonl": DatasetFormat("JSON Lines", (".jsonl", ".ndjson"), "training.imports.kinds.json_lines.open_json_lines"),
    "text": DatasetFormat(
        "Plain text, one post a line", (".txt", ".text"), "training.imports.kinds.text_file.open_text"
    ),
}
