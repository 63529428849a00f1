"""How toxic a post is, x in [0, 1), and what that takes from its score.

`lexicon` is built in: a short weighted list of English insults and threats, and the hashed slurs of the moderation
rules. It hears words and not meaning, in one language, and is a floor rather than a judge. A classifier of the hub
(the run's `toxicity_model`) needs the training worker: it judges a post when it is proposed, and its answer travels in
the post's provenance. The worse of the two counts, so that an edited text is never judged by the old one alone.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

from bots.moderation.rules.blocklist import SLURS
from bots.moderation.toxicity_classifier import probability
from bots.moderation.words import plain, undisguised, words

if TYPE_CHECKING:  # the moderation rules read this, and models are not theirs
    from bots.models import Post

SLUR_WEIGHT = 2.5
WEIGHTS: dict[float, tuple[str, ...]] = {
    1.0: (
        "kill yourself",
        "hope you die",
        "go die",
        "kill you",
        "subhuman",
        "subhumans",
        "vermin",
        "filthy animals",
        "exterminate",
    ),
    0.6: (
        "fuck you",
        "shut the fuck up",
        "piece of shit",
        "asshole",
        "assholes",
        "bitch",
        "bitches",
        "bastard",
        "bastards",
        "scum",
        "dumbass",
        "motherfucker",
    ),
    0.3: (
        "idiot",
        "idiots",
        "idiotic",
        "moron",
        "morons",
        "stupid",
        "loser",
        "losers",
        "pathetic",
        "trash",
        "disgusting",
        "shut up",
        "hate you",
        "worthless",
        "fuck",
        "fucking",
        "shit",
    ),
}
_PHRASES = tuple((tuple(words(phrase)), weight) for weight, phrases in WEIGHTS.items() for phrase in phrases)


def lexicon(text: str) -> float:
    """x = 1 − exp(−sum of the weights of what is found), each word or phrase as often as it stands there; 0 for none.

    A longer phrase hides the shorter ones within it. Disguises of letters are seen through, as the blocklist does.
    """
    heard = (words(plain(text)), undisguised(text))
    return 1.0 - math.exp(-max(_found(tokens) for tokens in heard))


def heard(text: str) -> float:
    """The worse of what the word list and the built-in classifier say of a text. For moderation, where a person looks
    at what was found; scores go by the word list alone.
    """
    return max(lexicon(text), probability(text))


def _found(tokens: list[str]) -> float:
    total, place = 0.0, 0
    while place < len(tokens):
        length, weight = max(
            (
                (len(phrase), weight)
                for phrase, weight in _PHRASES
                if tuple(tokens[place : place + len(phrase)]) == phrase
            ),
            default=(1, 0.0),
        )
        if hashlib.sha256(tokens[place].encode()).hexdigest() in SLURS:
            length, weight = 1, SLUR_WEIGHT
        total += weight
        place += length
    return total


def of(post: Post) -> float:
    """How toxic the post is: the lexicon's word on its text, or what was measured when it was written, if that is
    worse.
    """
    return max(lexicon(post.text), measured(post))


def measured(post: Post) -> float:
    """What a classifier of the hub said of the post when it was written; 0 if none did."""
    found = post.provenance.get("toxicity")
    return float(found) if isinstance(found, int | float) and 0 <= found <= 1 else 0.0
