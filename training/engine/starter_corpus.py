"""The posts that the starter model learns from: read, filtered, tokenised.

The filter is for taste, not for safety: it removes what a bot's owner would not want to see in a first draft, and
subjects that a model this small cannot treat with care. Moderation of what is published is another room's work.
"""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.engine.tokenizer import PostTokenizer

MIN_LENGTH, MAX_LENGTH, MIN_WORDS = 12, 280, 3
MIN_LETTERS = 0.6

_OBSCENE = (
    r"f+u+c+k\w*|\w*fuck\w*|\w*shit\w*|cunts?|cocks?|dicks?|dickhead|puss(?:y|ies)|porn\w*|nudes?|nudity|naked|nsfw|nsfl|"
    r"sex\w*|boob\w*|tits?|titties|penis\w*|vagina\w*|masturbat\w*|orgasm\w*|blow ?jobs?|hand ?jobs?|sluts?|slutty|"
    r"whores?|rap(?:e|ed|es|ist|ists|ing)|fap\w*|cum|cumming|cumshot\w*|anal|anus|hentai|fetish\w*|milfs?|gilfs?|ass|asses|"
    r"asshole\w*|bitch\w*|bastards?|dildo\w*|vibrators?|horny|erotic\w*|boners?|erections?|jizz|semen|testicle\w*|balls?ack|scrotum|"
    r"pedo\w*|paedo\w*|incest\w*|molest\w*|strippers?|hookers?|prostitut\w*|escorts?|topless|panties|thongs?|lingerie|"
    r"[mf]4[mfar]|gonewild|piss\w*|crap|turds?|fart\w*|poop\w*|masturb\w*|virgin\w*|condoms?|bdsm|kinky?|creepshots?"
)
_HATEFUL = (
    r"n[i1]gg\w*|fag\w*|retard\w*|kikes?|spics?|chinks?|trann(?:y|ies)|dykes?|wetbacks?|pakis?|gooks?|towelheads?|ragheads?|"
    r"coons?|beaners?|honk(?:y|ies)|redskins?|jews?|jewish|muslims?|islam\w*|nazis?|hitler\w*|holocaust|kkk|negro\w*|blacks|"
    r"gays?|lesbians?|homosexual\w*|feminis\w*|feminazi\w*|terroris\w*|jihad\w*|genocid\w*|"
    r"suicid\w*|kill (?:your|my|him|her)self|lynch\w*|behead\w*|tortur\w*|murder\w*|massacre\w*|corpses?|gore|"
    r"abortion\w*|shooters?|shootings?|heroin|cocaine|meth"
)
_UNWANTED = re.compile(rf"\b(?:{_OBSCENE}|{_HATEFUL})\b", re.IGNORECASE)
_LINK = re.compile(
    r"https?:|www\.|\.(?:com|org|net|html?|php|jpe?g|gif|png)\b|\bimgur|youtu\.?be|@\w|\bu/\w", re.IGNORECASE
)
_BROKEN = re.compile(r"�|[\x00-\x1f\x7f-\x9f]|(.)\1{5}|&\w+;|Ã|â€")
_SPACE = re.compile(r"\s+")


def clean(text: str) -> str:
    """`text` with HTML entities resolved (twice: some are nested) and white space made single."""
    return _SPACE.sub(" ", html.unescape(html.unescape(text))).strip()


def wanted(text: str) -> bool:
    """Whether a cleaned post is worth learning: of fair length, in words, without links, obscenities or hatred."""
    if not MIN_LENGTH <= len(text) <= MAX_LENGTH or len(text.split()) < MIN_WORDS:
        return False
    if _LINK.search(text) or _BROKEN.search(text) or _UNWANTED.search(text):
        return False
    solid = text.replace(" ", "")
    return sum(c.isalpha() for c in solid) >= MIN_LETTERS * len(solid)


def read_corpus(path: Path, excluded: Iterable[Path] = ()) -> list[str]:
    """The wanted posts of a file of `community<TAB>text` lines, in order, without repetitions.

    `excluded` are CSV files with a `text` column whose posts must not be learned, so that a model fine-tuned on them
    later can be judged fairly. Raises `ValueError` when nothing is left.
    """
    seen = {clean(text).casefold() for file in excluded for text in _csv_texts(file)}
    posts: list[str] = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            text = clean(line.rstrip("\n").split("\t", 1)[-1])
            key = text.casefold()
            if key not in seen and wanted(text):
                seen.add(key)
                posts.append(text)
    if not posts:
        raise ValueError(f"{path} has no usable posts: it must hold one post a line, as community<TAB>text.")
    return posts


def _csv_texts(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["text"]


class TokenizedPosts:
    """Documents `[end, …, end]` in one flat array, so that tens of millions of tokens take two bytes each."""

    def __init__(self, tokenizer: PostTokenizer, texts: Sequence[str]) -> None:
        if tokenizer.vocab_size > np.iinfo(np.uint16).max:
            raise ValueError("TokenizedPosts holds 16-bit ids: use a vocabulary below 65,536.")
        parts: list[npt.NDArray[np.uint16]] = []
        sizes: list[int] = []
        for start in range(0, len(texts), 20_000):
            documents = tokenizer.documents(texts[start : start + 20_000])
            sizes.extend(map(len, documents))
            parts.append(np.fromiter((i for d in documents for i in d), np.uint16))
        self._flat = np.concatenate(parts)
        self._ends = np.cumsum(np.array(sizes, dtype=np.int64))
        self.input_lengths: npt.NDArray[np.int64] = np.array(sizes, dtype=np.int64) - 1

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> list[int]:
        start = int(self._ends[index - 1]) if index else 0
        ids: list[int] = self._flat[start : int(self._ends[index])].tolist()
        return ids

    @property
    def targets(self) -> int:
        """Tokens predicted in one pass over all documents."""
        return int(self.input_lengths.sum())
