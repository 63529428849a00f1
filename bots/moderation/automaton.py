r"""Regular expressions whose search time is bounded: pattern states × characters, whatever the pattern.

Python's `re` goes back on its steps, and (a+)+b keeps it busy for years on thirty characters, with the interpreter
locked. This is the construction of Thompson (1968) instead: all possible states are followed at once. Left out on
purpose, because it needs going back: references to groups (\1), look-around, possessive and atomic groups. Single
characters and classes are matched by `re` itself, always ignoring case.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

LONGEST_PATTERN = 300
MOST_STATES = 500
REPEAT = re.compile(r"[*+?]|\{(?:(?P<times>\d+)|(?P<least>\d*),(?P<most>\d*))\}", re.ASCII)
CLASS = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]", re.DOTALL)
ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]+\}|.)", re.DOTALL)
GROUP = re.compile(r"\((?:\?:|\?P<\w+>)?(?!\?)")
WORD = re.compile(r"\w")

Assertion = Callable[[str, int], bool]


class PatternError(ValueError):
    """A pattern that cannot be used; the message is for its author."""


def _at_word_edge(text: str, place: int) -> bool:
    before = place > 0 and WORD.match(text[place - 1]) is not None
    after = place < len(text) and WORD.match(text[place]) is not None
    return before != after


ASSERTIONS: dict[str, Assertion] = {
    "^": lambda text, place: place == 0,
    "$": lambda text, place: place == len(text) or (place == len(text) - 1 and text[place] == "\n"),
    r"\A": lambda text, place: place == 0,
    r"\Z": lambda text, place: place == len(text),
    r"\b": _at_word_edge,
    r"\B": lambda text, place: bool(text) and not _at_word_edge(text, place),
}


class State:
    """A step: it consumes a character that `takes` matches, or holds where `holds` does, or is free; then any of
    `after`.
    """

    __slots__ = ("after", "holds", "takes")

    def __init__(self, *after: State, takes: re.Pattern[str] | None = None, holds: Assertion | None = None) -> None:
        self.after = list(after)
        self.takes = takes
        self.holds = holds


Piece = Callable[[State], State]
"""A part of a pattern: given the state that follows it, the state where it starts. Called once for each copy."""


class Automaton:
    """A compiled pattern."""

    def __init__(self, start: State, end: State) -> None:
        self._start = start
        self._end = end

    def search(self, text: str) -> bool:
        """Whether the pattern occurs anywhere in the text."""
        arrived: list[State] = []
        for place in range(len(text) + 1):
            reached = self._reach([self._start, *arrived], text, place)
            if self._end in reached:
                return True
            if place < len(text):
                char = text[place]
                taking = [state for state in reached if state.takes is not None and state.takes.fullmatch(char)]
                arrived = [after for state in taking for after in state.after]
        return False

    @staticmethod
    def _reach(states: list[State], text: str, place: int) -> set[State]:
        """The states that can be stood in here, without taking a character."""
        reached: set[State] = set()
        while states:
            state = states.pop()
            if state in reached:
                continue
            reached.add(state)
            if state.takes is None and (state.holds is None or state.holds(text, place)):
                states += state.after
        return reached


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Automaton:
    """Raises PatternError for what is no regular expression, needs going back, or grows too large."""
    if len(pattern) > LONGEST_PATTERN:
        raise PatternError(f"the pattern is longer than {LONGEST_PATTERN} characters")
    if not pattern.strip():
        raise PatternError("the pattern is empty and would block every text")
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise PatternError(f"“{pattern}” is not a regular expression: {error}") from error
    return _Parser(pattern).parse()


class _Parser:
    """Recursive descent over a pattern that `re` has already found well formed."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._place = 0
        self._states = 0

    def parse(self) -> Automaton:
        end = State()
        piece = self._alternatives()
        start = piece(end)
        automaton = Automaton(start, end)
        if automaton.search(""):
            raise PatternError(f"“{self._pattern}” matches the empty text and would block every post")
        return automaton

    def _alternatives(self) -> Piece:
        branches = [self._sequence()]
        while self._peek() == "|":
            self._place += 1
            branches.append(self._sequence())
        if len(branches) == 1:
            return branches[0]
        return lambda after: self._state(*(branch(after) for branch in branches))

    def _sequence(self) -> Piece:
        pieces: list[Piece] = []
        while self._peek() not in ("", "|", ")"):
            pieces.append(self._repeated(self._atom()))

        def build(after: State) -> State:
            for piece in reversed(pieces):
                after = piece(after)
            return after

        return build

    def _atom(self) -> Piece:
        if self._peek() == "(":
            return self._group()
        for part in (ESCAPE, CLASS):
            if match := part.match(self._pattern, self._place):
                self._place = match.end()
                return self._single(match.group())
        self._place += 1
        return self._single(self._pattern[self._place - 1])

    def _group(self) -> Piece:
        opening = GROUP.match(self._pattern, self._place)
        if opening is None:
            raise self._refusal("look-around, flags and special groups")
        self._place = opening.end()
        inner = self._alternatives()
        self._place += 1
        return inner

    def _single(self, source: str) -> Piece:
        if assertion := ASSERTIONS.get(source):
            return lambda after: self._state(after, holds=assertion)
        if source[0] == "\\" and source[1] in "0123456789":
            raise self._refusal("references to groups")
        takes = re.compile(source if len(source) > 1 or source == "." else re.escape(source), re.IGNORECASE)
        return lambda after: self._state(after, takes=takes)

    def _repeated(self, piece: Piece) -> Piece:
        match = REPEAT.match(self._pattern, self._place)
        if match is None:
            return piece
        self._place = match.end()
        if self._peek() == "+":
            raise self._refusal("possessive repeats")
        if self._peek() == "?":
            self._place += 1  # lazy or greedy: the same texts match
        least, most = _bounds(match)

        def build(after: State) -> State:
            if most is None:
                loop = self._state(after)
                loop.after.append(piece(loop))
                after = loop
            for _ in range((most or least) - least):
                after = self._state(after, piece(after))
            for _ in range(least):
                self._count()  # copies of an empty group make no states, and could be made for ever
                after = piece(after)
            return after

        return build

    def _state(self, *after: State, takes: re.Pattern[str] | None = None, holds: Assertion | None = None) -> State:
        self._count()
        return State(*after, takes=takes, holds=holds)

    def _count(self) -> None:
        self._states += 1
        if self._states > MOST_STATES:
            raise PatternError(f"“{self._pattern}” is too large: use smaller repeat counts or fewer alternatives")

    def _peek(self) -> str:
        return self._pattern[self._place : self._place + 1]

    def _refusal(self, what: str) -> PatternError:
        return PatternError(
            f"“{self._pattern}” uses {what}, which cannot be searched in bounded time: write it without"
        )


def _bounds(match: re.Match[str]) -> tuple[int, int | None]:
    """Least and most repeats; None: no most."""
    sign = match.group()
    if sign in "*+?":
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
    if match["times"]:
        return int(match["times"]), int(match["times"])
    return int(match["least"] or 0), int(match["most"]) if match["most"] else None
