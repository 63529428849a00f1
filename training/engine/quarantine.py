"""Posts that break a training, found by computing the posts of a broken step one at a time.

Before a step or a batch that is held out is computed, a small file says which posts are in work. It is not flushed: a
process that dies leaves it to the next one, and a machine that goes down has broken no post. The next process computes
these posts one at a time, each again under its name. A healthy training that was killed finds nothing and goes on;
nothing that is computed here changes its state. A post that the process dies of twice, alone, is left out from that
step on; so is one that raises, or is not a number, in its step and alone. A file that is damaged says nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from training.engine import checkpoints
from training.engine.errors import EngineError
from training.engine.memory import ran_out

DEATHS = 2
"""How often a process dies of a post alone before the post is blamed: one kill may come from outside."""
MOST_DEATHS = 5
"""How often a process may die in one step in a row, without a post to blame, before the training is given up."""
IN_WORK, LIST = "in_work.json", "quarantine.json"

Compute = Callable[[int], float]
"""Loss and gradient of one post alone, by its number; returns NaN when either is not a number."""


@dataclass(frozen=True)
class Entry:
    """A post that is left out from `step` on, and why."""

    step: int
    reason: str


@dataclass(frozen=True)
class _Work:
    """The posts of `step` that are in work, one at a time if they are `alone`. `earlier` counts the deaths in that step
    before, `deaths` those of the first post alone.
    """

    step: int
    posts: list[int]
    earlier: int = 0
    alone: bool = False
    deaths: int = 0


class Quarantine:
    """Those of the `posts` (a number) of the training in `folder` that are left out, and the file that says which are
    in work.
    """

    def __init__(self, folder: Path, posts: int) -> None:
        self._list, self._in_work, self._posts = folder / LIST, folder / IN_WORK, posts
        self.entries: dict[int, Entry] = {}
        self.restore(_read(self._list))
        self._deaths: dict[int, int] = {}  # of a step, in a row

    def holds(self, number: int, step: int) -> bool:
        """Whether a post is left out of a step. It is not out of earlier ones: they are computed again as they were."""
        return number in self.entries and step >= self.entries[number].step

    def as_json(self) -> dict[str, dict[str, Any]]:
        """What a checkpoint's state says of it."""
        return {str(number): vars(entry) for number, entry in self.entries.items()}

    def restore(self, stored: Any) -> None:
        """Leaves out what `as_json` told once; nothing where that is not what is `stored`."""
        try:
            found = {int(number): Entry(int(told["step"]), str(told["reason"])) for number, told in stored.items()}
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            return
        self.add({number: entry for number, entry in found.items() if number in range(self._posts)})

    def add(self, found: Mapping[int, Entry]) -> None:
        """Leaves posts out; `save` makes it last."""
        self.entries |= found

    def save(self) -> None:
        """Writes down which posts are left out, if there are any."""
        if self.entries:
            self._list.parent.mkdir(parents=True, exist_ok=True)
            checkpoints.write_text(self._list, json.dumps(self.as_json()))

    def begin(self, step: int, numbers: Sequence[int]) -> None:
        """Says that the posts of a step are in work."""
        self._write(_Work(step, list(numbers), self._deaths.get(step, 0)))

    def end(self) -> None:
        """Says that nothing is in work."""
        self._in_work.unlink(missing_ok=True)

    def after_death(self, compute: Compute, should_stop: Callable[[], bool]) -> bool:
        """Looks for what killed the process before this one, if anything did. False when `should_stop` ended it early:
        the next call goes on. Raises `EngineError` when processes keep dying in one step and no post is to blame.
        """
        left = self._left()
        if left is None:
            return True
        step, posts = left.step, left.posts
        self._deaths = {step: left.earlier + (not left.alone)}
        if self._deaths[step] >= MOST_DEATHS:
            self.end()
            raise EngineError(
                f"The training process died {MOST_DEATHS} times in a row in step {step + 1}, though none of its posts "
                "is to blame. Perhaps memory ran out: set “micro_rows” to a small number and start the training again."
            )
        deaths = left.deaths + 1 if left.alone else 0
        if deaths >= DEATHS:
            words = f"The training process died of it {deaths} times when it was computed alone."
            self.add({posts.pop(0): Entry(step, words)})
            self.save()
            self._deaths, deaths = {}, 0
        while posts:
            work = _Work(step, posts, self._deaths.get(step, 0))
            self._write(replace(work, alone=True, deaths=deaths))
            with contextlib.suppress(Exception):  # what can be caught comes again in the step itself
                compute(posts[0])
            posts, deaths = posts[1:], 0
            if posts and should_stop():
                self._write(replace(work, posts=posts, earlier=work.earlier - 1))
                return False
        self.end()
        return True

    def _left(self) -> _Work | None:
        """What the process before left in work."""
        try:
            left = _Work(**_read(self._in_work))
        except TypeError:  # not there, or not what was written
            return None
        numbers = [left.step, *left.posts, left.earlier, left.deaths] if isinstance(left.posts, list) else [""]
        sound = all(type(number) is int for number in numbers) and set(left.posts) <= set(range(self._posts))
        return left if sound and (left.posts or not left.alone) else None

    def _write(self, work: _Work) -> None:
        self._in_work.parent.mkdir(parents=True, exist_ok=True)
        aside = self._in_work.with_suffix(".part")
        aside.write_text(json.dumps(asdict(work)), encoding="utf-8")
        aside.replace(self._in_work)


def find(numbers: Sequence[int], witness: int, step: int, compute: Compute) -> dict[int, Entry]:
    """Those of the posts of a step that raise or are not a number alone. None of them when that is so of all, and of
    `witness`, a post from elsewhere, too: then it is not the posts' fault.
    """
    found = _blame(numbers, step, compute)
    return {} if len(found) == len(numbers) and _blame([witness], step, compute) else found


def _blame(numbers: Sequence[int], step: int, compute: Compute) -> dict[int, Entry]:
    found = {}
    for number in numbers:
        try:
            finite = math.isfinite(compute(number))
        except Exception as error:
            if not ran_out(error):
                found[number] = Entry(step, f"It broke the training off, alone too: {type(error).__name__}: {error}")
            continue
        if not finite:
            found[number] = Entry(step, "Its loss is not a number, alone too.")
    return found


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or cut off by a crash of the machine
        return None
