"""What a post is made of: reposts, replies, names and addresses alone, too few words."""

from __future__ import annotations

import math
import re
from itertools import islice

from bots.languages import MENTION, bare, has_address
from training.imports.contract import ImportedRow
from training.imports.filters import Check

REPOST = re.compile(r"[\"“]?RT @")
ANSWER = re.compile(r"\.?@\w")
# A word, or one character of a script that is written without spaces.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]|[^\W_](?:[^\W_]|['’-](?=[^\W_]))*")


def reposts() -> Check:
    def check(row: ImportedRow) -> str | None:
        return "a repost" if row.is_repost or REPOST.match(row.text) else None

    return check


def replies() -> Check:
    def check(row: ImportedRow) -> str | None:
        return "a reply" if row.is_reply or row.reply_to_text or ANSWER.match(row.text) else None

    return check


def mentions_only() -> Check:
    def check(row: ImportedRow) -> str | None:
        names = MENTION.findall(row.text)
        return "only names of accounts" if names and not WORD.search(MENTION.sub(" ", row.text)) else None

    return check


def links_only() -> Check:
    def check(row: ImportedRow) -> str | None:
        return "only addresses" if has_address(row.text) and not WORD.search(bare(row.text)) else None

    return check


def too_short(min_words: float) -> Check:
    enough = math.ceil(min_words)

    def check(row: ImportedRow) -> str | None:
        count = sum(1 for _ in islice(WORD.finditer(bare(row.text)), enough))
        return f"{count} word{'' if count == 1 else 's'}" if count < min_words else None

    return check
