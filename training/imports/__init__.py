"""Data in: CSV, JSON, JSON Lines and plain text, streamed, with a preview of what is kept, dropped and refused.

`preview` first; where it is not `ok`, rows are imported with `read` only after the person asked for the good rows only.
"""

from training.imports.contract import Columns, ImportedRow, ImportRefused, Limits, Problem
from training.imports.detect import detect_format
from training.imports.reading import Preview, preview, read
from training.imports.registry import FORMATS

__all__ = [
    "FORMATS",
    "Columns",
    "ImportRefused",
    "ImportedRow",
    "Limits",
    "Preview",
    "Problem",
    "detect_format",
    "preview",
    "read",
]
