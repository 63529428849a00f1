"""How platforms count a text's length. The composer, the generator and the rules use the same functions.

- `weighted`: X. Text in NFC; most Latin, punctuation and general characters weigh 1, everything else 2, an emoji
  (however many code points it is made of) 2, and a link 23 whatever its length. Links without https:// are known by
  the most common endings only.
- `graphemes`: Bluesky. User-perceived characters (Unicode UAX #29).
- `utf16`: Telegram. UTF-16 code units.
- `mastodon`: characters, a link 23 (or what the instance says), a mention without its domain.
"""

from __future__ import annotations

import unicodedata

import regex

LINK_WEIGHT = 23
_LIGHT = ((0x0000, 0x10FF), (0x2000, 0x200D), (0x2010, 0x201F), (0x2032, 0x2037))
"""Code points that weigh 1 on X (its published weighting, configuration v3)."""

_SCHEME_LINK = r"https?://[^\s<>\"“”\u202A-\u202E\u2066-\u2069]*[^\s<>\"“”\u202A-\u202E\u2066-\u2069.,:;!?'’)\]}…]"
_BARE_LINK = (
    r"(?<![\w@#$./-])(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+"
    r"(?:com|org|net|edu|gov|io|co|uk|de|fr|es|it|nl|eu|jp|cn|in|br|ru|ca|au|us|info|biz|dev|app|ai|me|tv|news|blog|xyz)"
    r"\b(?:/[^\s<>\"“”]*[^\s<>\"“”.,:;!?'’)\]}…])?(?![\w@])"
)
LINK = regex.compile(_SCHEME_LINK, regex.IGNORECASE)
X_LINK = regex.compile(f"{_SCHEME_LINK}|{_BARE_LINK}", regex.IGNORECASE)
_HOST = regex.compile(r"(?:https?://)?([^/?#:]*)", regex.IGNORECASE)
_MENTION = regex.compile(r"(?<![\w/])@([\w.-]*\w)@[\w.-]*\w")
_EMOJI = regex.compile(
    r"\p{RI}\p{RI}"
    r"|[0-9#*]\uFE0F?\u20E3"
    r"|(?:\p{Extended_Pictographic}(?:\uFE0F|\p{EMod})?(?:[\U000E0020-\U000E007F]+)?"
    r"(?:\u200D\p{Extended_Pictographic}(?:\uFE0F|\p{EMod})?)*)"
)
_TEXT_STYLE = regex.compile(r"[\u00A9\u00AE\u2122\u2139\u203C\u2049](?!\uFE0F)")
"""Pictographs that are drawn, and weighed, as letters unless a variation selector follows."""


def x_links(text: str) -> list[regex.Match[str]]:
    """What X makes a link of: the host's name must be one that can be looked up (labels of at most 63 bytes)."""
    return [link for link in X_LINK.finditer(text) if _is_host(_HOST.match(link[0])[1])]


def _is_host(name: str) -> bool:
    try:
        return "." in name and bool(name.encode("idna"))
    except UnicodeError:
        return False


def weighted(text: str) -> int:
    """X's weighted length of `text`."""
    text = unicodedata.normalize("NFC", text)
    total, end = 0, 0
    for link in x_links(text):
        total += _plain_weight(text[end : link.start()]) + LINK_WEIGHT
        end = link.end()
    return total + _plain_weight(text[end:])


def _plain_weight(text: str) -> int:
    total, end = 0, 0
    for emoji in _EMOJI.finditer(text):
        total += sum(map(_weight, text[end : emoji.start()]))
        total += _weight(emoji[0]) if _TEXT_STYLE.fullmatch(emoji[0]) else 2
        end = emoji.end()
    return total + sum(map(_weight, text[end:]))


def _weight(character: str) -> int:
    return 1 if any(low <= ord(character) <= high for low, high in _LIGHT) else 2


def graphemes(text: str) -> int:
    """User-perceived characters of `text`."""
    return len(regex.findall(r"\X", text))


def utf16(text: str) -> int:
    """UTF-16 code units of `text`."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def mastodon(text: str, link_weight: int = LINK_WEIGHT) -> int:
    """Mastodon's length of `text`: graphemes, each link `link_weight`, mentions without their domain."""
    return graphemes(_MENTION.sub(r"@\1", LINK.sub("x" * link_weight, text)))
