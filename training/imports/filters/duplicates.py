"""Exact duplicates: a 64-bit hash of each text, kept on the disk past what a small cache holds.

Two different texts share a hash with probability 3e-8 in a million rows and 3e-5 in thirty million.
"""

from __future__ import annotations

import sqlite3

from training.imports.contract import ImportedRow
from training.imports.filters import Check
from training.imports.rows import fingerprint


def duplicates() -> Check:
    database = sqlite3.connect("", isolation_level=None)
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA cache_size = -65536")  # in KiB
    database.execute("CREATE TABLE seen (hash INTEGER PRIMARY KEY)")
    database.execute("BEGIN")

    def check(row: ImportedRow) -> str | None:
        # The same words under another post are another answer. SQLite's integers have a sign.
        key = fingerprint(row.text, row.reply_to_text) - 2**63
        new = database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount
        return None if new else "the same as an earlier post"

    return check
