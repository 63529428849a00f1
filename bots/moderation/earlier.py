"""What a bot has said before, ready to be compared with: an inverted index of word trigrams."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import overload

from bots.moderation.words import grams, words

Gram = tuple[str, ...]


class EarlierTexts(Sequence[str]):
    """Texts in the order in which they were added. A question touches only those that share a trigram: its cost grows
    with what is alike, and that of building the index with the texts (about 20 µs each).
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts: list[str] = []
        self._holders: defaultdict[int, list[int]] = defaultdict(list)
        self._worded: set[int] = set()
        self._wordless: set[str] = set()
        for text in texts:
            self.add(text)

    @classmethod
    def of(cls, texts: Sequence[str]) -> EarlierTexts:
        """The texts with an index; the very same object where they have one."""
        return texts if isinstance(texts, EarlierTexts) else cls(texts)

    def add(self, text: str) -> None:
        """Count one more text as said."""
        tokens, number = words(text), len(self._texts)
        self._texts.append(text)
        if not tokens:
            self._wordless.add(text.strip())
            return
        self._worded.add(hash(tuple(tokens)))
        for gram in set(grams(tokens, 3)):
            self._holders[hash(gram)].append(number)

    def containment(self, own: set[Gram]) -> float:
        """The largest share of these trigrams that one text holds (Broder 1997)."""
        shared: Counter[int] = Counter()
        for gram in own:
            shared.update(self._holders.get(hash(gram), ()))
        return max(shared.values()) / len(own) if shared else 0.0

    def says(self, tokens: Sequence[str]) -> bool:
        """Whether a text has these very words."""
        return hash(tuple(tokens)) in self._worded

    def shows(self, text: str) -> bool:
        """Whether a text without words (of emoji, say) was said before."""
        return text.strip() in self._wordless

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._texts[index]

    def __len__(self) -> int:
        return len(self._texts)
