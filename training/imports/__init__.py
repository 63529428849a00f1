"""Data in: tables, texts and the exports of platforms, streamed, with a preview of what is kept, dropped and refused.

`preview` looks at the beginning; then `read` gives every row, and its problems, which keep a file out unless the person
asked for the good rows only. `FILTERS` leave out what nobody wants to learn from.
"""

from training.imports.contract import Columns, ImportedRow, ImportRefused, Limits, Problem
from training.imports.detect import detect_format
from training.imports.filters import DEFAULT_FILTERS, FILTERS, Chosen, checked_filters
from training.imports.reading import FilterReport, Preview, preview, read
from training.imports.registry import FORMATS

__all__ = [
    "DEFAULT_FILTERS",
    "FILTERS",
    "FORMATS",
    "Chosen",
    "Columns",
    "FilterReport",
    "ImportRefused",
    "ImportedRow",
    "Limits",
    "Preview",
    "Problem",
    "checked_filters",
    "detect_format",
    "preview",
    "read",
]
