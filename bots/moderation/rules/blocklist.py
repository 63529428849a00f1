"""Blocked words: the bot's own words and phrases, and a short built-in list of slurs.

The built-in list holds SHA-256 hashes of single words in lower case, so that the words themselves are nowhere in this
repository. It is a floor and no filter for hate: what is said without these words passes.
"""

from __future__ import annotations

import hashlib
import re

from bots.moderation.contract import PASSED, Finding, Rule, RuleContext
from bots.moderation.words import plain, undisguised, words

# Scripts without spaces between words: there a blocked word is looked for anywhere.
UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
SLURS = frozenset(
    (
        "044eb98b18769b887d5a0258f675e413058b8e9fc9b9786b418bfc6f03f26c98",
        "08a841e996781e9e77d30a4e4420a8f501a280b00624e6d1224bf54aaff73eba",
        "0ce875d620076b533c6e681abaa0dc5d9a941366bb000a02ec5351f341b96c61",
        "120f6e5b4ea32f65bda68452fcfaaef06b0136e1d0e4a6f60bc3771fa0936dd6",
        "12e6274e4309293e2d480272b49a6c7c73a6a6b22678ba226b533c67006c17d1",
        "16ea09fc78ca83ca502cbcf2377acdf280bf18f61e259153f0868405eedab5ef",
        "17a110e5332848721f27510e1e2bca710a321663bb8a5632e0e46a820fc9e28a",
        "1e02eec4f1095143be282056557034d4e8ab915342c1af508223141d472d2347",
        "22fc75e65a0e9d34324092a7c6a8dba961853294abca4e5914e60c550f48e0c2",
        "268651b3ece980102f18871fde07189372961e056f858ca147a28d004f876b03",
        "333f7618092958c75b8c5af6f1ec77b42803922a0fc6ff1570a8af3a3aab3b4a",
        "341d56384afc0f47b34ca18273e793be555507a49444c30d3d0588688de46cb3",
        "402f7ebd98864afed4817ff4718d357dbfa95458aa4236d6c5959536956fa4e5",
        "448b303c89bef07153d6625b53685248d5e81290259d0181808c3826d9e3e323",
        "5b3ae48be122f7ed19b4cc587649f41f9d2565df51cfa332f8e7806f4ebb9032",
        "82159dd02870c13ec30e4f146db7c317aca568469d0e7e22b8610a2eaa3d3924",
        "87d1690e74a1d8276d11401dc3da66b774e8f1cade9758b9ddf8737166ca73b7",
        "8f5083e3e5c7dc8932f2bf58212f963f3a44752618c96297f82623f736c52738",
        "98b52c4b6b7d1f48e7477a5ccc10955dd195d0ac5a38c8281bfeb08762634909",
        "bb209d506bb8b17815af0e50923c3d8f65985dab91083f026f1881a7430c5cc7",
        "be00f1af522eaa99d3dc57b0e27162a5e8963e0e0e8b6cc5734f53d8e64ba2dc",
        "c3de533e9b7fe63b79f648687a30d2861edd92fe7c3cd1f2c485e0a605367624",
        "cc02032349c833ac5e97bac094560ed40e09acf34cb1978ab7a9840b9bf15b4d",
        "da0a6b1b9213d48ff10cc45733cc8a925dbd2afb26320ed488ac2efa9a8ae33a",
        "eef3bd091670c3447022d619c06ad15de96da72b5a66f28bb8b75d1b1c12a05f",
    )
)


class Blocklist(Rule):
    def check(self, text: str, context: RuleContext) -> Finding:
        heard = _ways(text)
        if any(hashlib.sha256(word.encode()).hexdigest() in SLURS for way in heard for word in way):
            return Finding("block", "The text holds a slur of the built-in list.")
        for word in context.texts("blocklist"):
            if holds(text, word, heard):
                return Finding("block", f"The text holds “{word}”, which is on this bot's blocklist.")
        return PASSED


def holds(text: str, word: str, heard: tuple[list[str], list[str]] | None = None) -> bool:
    """Whether the text holds the word or phrase, as written or disguised; `heard` is the text in words, both ways,
    where somebody has them already.
    """
    heard = heard or _ways(text)
    if UNSPACED.search(word):
        return plain(word.strip()) in plain(text)
    wanted = _ways(word)
    if not any(wanted):  # signs only, such as an emoji
        return bool(word.strip()) and word.strip() in text
    return any(_follows(way, phrase) for way, phrase in zip(heard, wanted, strict=True))


def _ways(text: str) -> tuple[list[str], list[str]]:
    """The text in words: as written, and as heard behind disguises."""
    return words(plain(text)), undisguised(text)


def _follows(tokens: list[str], phrase: list[str]) -> bool:
    length = len(phrase)
    return length > 0 and any(tokens[start : start + length] == phrase for start in range(len(tokens) - length + 1))
