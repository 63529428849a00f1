"""What platforms make of a text: which parts become links, mentions and hashtags. For previews; nothing is asked of
the platform, so a mention may turn out to name nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import regex

Kind = Literal["link", "mention", "hashtag"]
HASHTAG = regex.compile(r"(?<![\w&/])[#＃]\w*[^\W\d_]\w*")
"""A hashtag as most platforms have it: word characters, one of them a letter."""
NAME = regex.compile(r"(?<![\w@/.])@\w{1,32}(?!\w)")
NAME_AT_HOST = regex.compile(r"(?<![\w/])@[\w.-]*\w(?:@[\w.-]*\w)?")
NAME_AFTER_SLASH = regex.compile(r"(?<![\w/])/?[ur]/[\w-]{2,21}(?!\w)")
"""Who is mentioned, or a community: @name, @name@host, u/name or r/name."""


@dataclass(frozen=True)
class Entity:
    """Characters `start` until `stop` of a text become something to follow."""

    start: int
    stop: int
    kind: Kind


def marked(text: str, *kinds: tuple[Kind, regex.Pattern[str]]) -> list[Entity]:
    """What these patterns find, in the order of the text. Where two overlap, the one of the earlier pattern counts."""
    return apart(
        [Entity(match.start(), match.end(), kind) for kind, pattern in kinds for match in pattern.finditer(text)]
    )


def apart(entities: Iterable[Entity]) -> list[Entity]:
    """The entities in the order of the text, without those that overlap an earlier one of the list."""
    kept: list[Entity] = []
    for entity in entities:
        if all(entity.stop <= other.start or entity.start >= other.stop for other in kept):
            kept.append(entity)
    return sorted(kept, key=lambda entity: entity.start)


def pieces(text: str, entities: Iterable[Entity]) -> Iterator[dict[str, Any]]:
    """The text cut at its entities: `text` and `kind` ("" for plain text)."""
    end = 0
    for entity in entities:
        if entity.start > end:
            yield {"text": text[end : entity.start], "kind": ""}
        yield {"text": text[entity.start : entity.stop], "kind": entity.kind}
        end = entity.stop
    if text[end:]:
        yield {"text": text[end:], "kind": ""}
