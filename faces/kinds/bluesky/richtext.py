"""Links, mentions and hashtags of a post: Bluesky wants them named as facets, by position in the UTF-8 text.

Format: app.bsky.richtext.facet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import regex

from faces import counting
from faces.entities import Entity, Kind, apart

MOST_TAG = 64
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_MENTION = regex.compile(rf"(?<![\w@./-])@((?:{_LABEL}\.)+(?=[a-z]){_LABEL})(?![\w-])", regex.IGNORECASE)
_TAG = regex.compile(r"(?<!\S)[#＃](?!\uFE0F)([^\s#＃\u200B\u2060]*[^\d\s\p{P}#＃\u200B\u2060][^\s#＃\u200B\u2060]*)")
_TRAILING = regex.compile(r"\p{P}+$")


def facets(text: str, resolve: Callable[[str], str | None]) -> list[dict[str, Any]]:
    """The facets of `text`, in the order of their place. `resolve` gives the DID of a handle, or None: then the mention
    stays text.
    """
    found, end = [], 0
    for start, stop, feature in sorted(_features(text, resolve), key=lambda feature: feature[:2]):
        if start < end:  # a hashtag or mention inside a link
            continue
        end = stop
        index = {"byteStart": _bytes(text[:start]), "byteEnd": _bytes(text[:stop])}
        found.append({"index": index, "features": [feature]})
    return found


_KINDS: dict[str, Kind] = {"link": "link", "mention": "mention", "tag": "hashtag"}


def entities(text: str) -> list[Entity]:
    """What becomes a facet, if every handle can be resolved."""
    features = sorted(_features(text, lambda handle: handle), key=lambda feature: feature[:2])
    return apart([Entity(start, stop, _KINDS[feature["$type"].partition("#")[2]]) for start, stop, feature in features])


def _features(text: str, resolve: Callable[[str], str | None]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    links = list(counting.X_LINK.finditer(text))
    for link in links:
        uri = link[0] if "://" in link[0] else f"https://{link[0]}"
        yield link.start(), link.end(), {"$type": "app.bsky.richtext.facet#link", "uri": uri}
    for mention in _MENTION.finditer(text):
        inside = any(link.start() < mention.start() < link.end() for link in links)
        if not inside and (did := resolve(mention[1].lower())):
            yield mention.start(), mention.end(), {"$type": "app.bsky.richtext.facet#mention", "did": did}
    for hashtag in _TAG.finditer(text):
        tag = _TRAILING.sub("", hashtag[1])
        if 0 < counting.graphemes(tag) <= MOST_TAG:
            stop = hashtag.start(1) + len(tag)
            yield hashtag.start(), stop, {"$type": "app.bsky.richtext.facet#tag", "tag": tag}


def _bytes(text: str) -> int:
    return len(text.encode())
