"""From tokens to the text they have become so far: whole characters only, and never longer than allowed."""

from __future__ import annotations

from collections.abc import Sequence

from training.engine.tokenizer import PostTokenizer
from training.engine.types import LengthLimit

UNFINISHED = "\ufffd"
"""What a decoder shows for the first bytes of a character whose last ones are yet to come."""


def whole(tokenizer: PostTokenizer, ids: Sequence[int]) -> str:
    """The text of `ids` without a character at its end that is not complete yet."""
    return tokenizer.decode(ids).rstrip(UNFINISHED)


def pieces(tokenizer: PostTokenizer, ids: Sequence[int], text: str) -> list[str]:
    """What each of `ids` adds to `text`, which they make. A character of several tokens is added by its last one."""
    found, before = [], ""
    for count in range(1, len(ids) + 1):
        so_far = whole(tokenizer, ids[:count]) if count < len(ids) else text
        if not so_far.startswith(before):  # a tokenizer that takes back what it has shown
            so_far = before
        found.append(so_far[len(before) :])
        before = so_far
    return found


def fits(limit: LengthLimit | None, text: str) -> bool:
    """Whether `text` is within the limit."""
    return limit is None or limit.count(text) <= limit.maximum


def longest_within(tokenizer: PostTokenizer, prefix: str, ids: Sequence[int], limit: LengthLimit) -> int:
    """How many of the first `ids` make, after `prefix`, the longest text of whole characters within the limit."""
    for count in range(len(ids), 0, -1):
        text = tokenizer.decode(ids[:count])
        if not text.endswith(UNFINISHED) and fits(limit, prefix + text):
            return count
    return 0
