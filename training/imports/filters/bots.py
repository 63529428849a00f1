"""Programs among the authors: by what they are called, and by what they say of themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence

from training.imports.contract import ImportedRow
from training.imports.filters import Check

KNOWN = frozenset((
    "anti-gif-bot", "automoderator", "autotldr", "commonmisspellingbot", "compileryou", "converter-bot",
    "gfycat_details_fixer", "gifreversingbot", "gifv-bot", "haikubot-1911", "imgurtranscriber", "remindmebot",
    "repostsleuthbot", "savetonotion", "savevideo", "sneakpeekbot", "stabbot", "threadreaderapp", "timezone_bot",
    "totesmessenger", "video_link_bot", "wikisummarizerbot", "wikitextbot", "year_progress", "yourstarterforten",
))  # fmt: skip
NAME = re.compile(r"(?:^|[\W_\d])bot(?:$|[\W_\d])|[a-z]Bot(?:$|[\W_\d])|bot$", re.ASCII)
PEOPLE = re.compile(r"(?:abbot|talbot|cabot|robot|not_?a_?bot)$", re.IGNORECASE)
SAYS_SO = re.compile(
    r"\bI(?:['’]m| am) (?:just )?a (?:\w+ )?bot\b"
    r"|\bthis (?:action|comment|message|post) was (?:performed|posted|made|written) (?:automatically|by a bot)"
    r"|\bbeep[,.]? boop\b",
    re.IGNORECASE,
)


def known_bots(accounts: Sequence[str]) -> Check:
    own = frozenset(name.casefold().removeprefix("@").removeprefix("u/") for name in accounts)

    def check(row: ImportedRow) -> str | None:
        name = row.author.casefold().removeprefix("@").removeprefix("u/")
        if name in own or name in KNOWN or (NAME.search(row.author) and not PEOPLE.search(row.author)):
            return f"written by “{row.author}”"
        return "says that it is a bot" if SAYS_SO.search(row.text) else None

    return check
