"""The file formats Kilroy reads: name → label, file endings and opener, imported on first use.

An opener takes `(stream: BinaryIO, columns: Columns | None, limits: Limits)`, returns a `Table`, and raises
ImportRefused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from training.imports.contract import Columns, Limits, Table

    Opener = Callable[[BinaryIO, Columns | None, Limits], Table]


@dataclass(frozen=True)
class DatasetFormat:
    """One entry: `endings` in lower case with the dot, where they say what a file is; `opener` a dotted path."""

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
    "gpt2_simple": DatasetFormat("gpt-2-simple’s text file", (), "training.imports.kinds.gpt2_simple.open_gpt2_simple"),
    "x_archive": DatasetFormat("X (Twitter) archive", (".js",), "training.imports.kinds.x_archive.open_x_archive"),
    "trump_archive": DatasetFormat("Trump Archive", (), "training.imports.kinds.trump_archive.open_trump_archive"),
    "reddit_dump": DatasetFormat(
        "Reddit comments and submissions", (), "training.imports.kinds.reddit_dump.open_reddit_dump"
    ),
    "mastodon": DatasetFormat("Mastodon archive", (), "training.imports.kinds.mastodon_archive.open_mastodon_archive"),
    "bluesky_car": DatasetFormat(
        "Bluesky repository", (".car",), "training.imports.kinds.bluesky_car.open_bluesky_car"
    ),
    "bluesky_json": DatasetFormat("Bluesky posts", (), "training.imports.kinds.bluesky_json.open_bluesky_json"),
}
