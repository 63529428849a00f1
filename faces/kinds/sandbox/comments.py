"""What the simulated audience writes: the first comments below each post, and now and then a mention. All simulated.

Nothing of it is stored: who writes what, and when, follows from the world's seed and the post's number. Some writers
are bots, and some comments vanish again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from faces.kinds.sandbox.reactions import Moment, comment_ages, generator

MOST_WRITTEN = 3
"""Comments of a post that are written out, of all that are counted."""
MENTION_CHANCE = 0.3
VANISH_CHANCE, VANISH_MINUTES = 0.12, 240.0
PEOPLE = ("ana", "bert", "chidi", "dora", "emre", "fay", "goran", "hana", "ivo", "jun")
BOTS = ("weather_bot", "quote_machine", "daily_digest")
REMARKS = (
    "What do you mean by “{word}”?",
    "I have been thinking about {word} all day. Where did you read that?",
    "Do you really think so? My sister says the opposite about {word}.",
    "Ha! Now tell us the rest of the story.",
    "That is the best thing I read about {word} this week.",
    "Nobody I know would agree with you about {word}.",
    "Is that true? How do you know?",
    "I would like to hear more about {word}, please.",
)
MENTIONS = (
    "@{account} what do you think about {word}?",
    "@{account} you will like this: my whole street talks about {word} today.",
    "Somebody should ask @{account} about {word}.",
)
BOT_REMARKS = ("Beep. Thank you for your post about {word}.", "Here is another fact about {word}.")
REMOTE_ID = re.compile(r"([1-9]\d{0,8})([cm])(\d)", re.ASCII)
WORD = re.compile(r"[^\W\d_]{5,}")


@dataclass(frozen=True)
class Remark:
    """A comment below the post `number`, or a mention after it: at which ages of that post, in platform minutes, it
    comes and (if ever) vanishes.
    """

    remote_id: str
    number: int
    author: str
    text: str
    age: float
    vanishes_at: float | None
    is_mention: bool

    @property
    def by_bot(self) -> bool:
        return self.author in BOTS

    def is_there(self, age: float) -> bool:
        return self.age <= age and (self.vanishes_at is None or age < self.vanishes_at)


def remarks(seed: int, number: int, moment: Moment, text: str, account: str, answers: str = "") -> Iterator[Remark]:
    """Everything that will ever be written about one post of the account's. Below an answer the first comment comes
    from the author `answers`, whom it answered.
    """
    for at, age in enumerate(comment_ages(seed, str(number), moment, MOST_WRITTEN)):
        yield _remark(seed, f"{number}c{at}", age, text, account, answers if at == 0 else "")
    luck = generator(seed, f"{number}:mention")
    if luck.random() < MENTION_CHANCE:
        yield _remark(seed, f"{number}m0", 20 + 400 * float(luck.random()), text, account, "")


def _remark(seed: int, remote_id: str, age: float, text: str, account: str, author: str) -> Remark:
    luck = generator(seed, remote_id)
    number, kind, _ = parsed(remote_id) or (0, "", 0)
    writer = author or str(luck.choice([*PEOPLE, *BOTS]))
    wordings = BOT_REMARKS if writer in BOTS else REMARKS
    wording = str(luck.choice(MENTIONS if kind == "m" else wordings))
    word = str(luck.choice(WORD.findall(text) or ["that"])).lower()
    vanishes = float(luck.random()) < VANISH_CHANCE
    return Remark(
        remote_id=remote_id,
        number=number,
        author=writer,
        text=wording.format(word=word, account=account),
        age=age,
        vanishes_at=age + VANISH_MINUTES if vanishes else None,
        is_mention=kind == "m",
    )


def parsed(remote_id: str) -> tuple[int, str, int] | None:
    """(the post's number, "c" for a comment or "m" for a mention, its place) of what the audience wrote; None for
    every other id.
    """
    found = REMOTE_ID.fullmatch(remote_id)
    return (int(found[1]), found[2], int(found[3])) if found else None
