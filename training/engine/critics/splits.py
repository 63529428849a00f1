"""Honest splits: what is judged is newer than what was learned from, and shares no author and no thread with it.

A model that has seen an author's other posts, or the other replies of a thread, knows more than it will about new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.engine.types import RatedPost

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Places of the rows to learn from and of those to be judged by, each in order of time."""

    train: Places
    judge: Places


def newest(posts: Sequence[RatedPost], share: float) -> Split:
    """The newest `share` of posts (in order of time) is judged; older posts of an author or a thread among them count
    for nothing.
    """
    count = round(share * len(posts))
    places = np.arange(len(posts))
    train, judge = places[: len(posts) - count], places[len(posts) - count :]
    return Split(_apart(posts, train, judge), judge)


def other_authors(posts: Sequence[RatedPost], share: float, seed: int) -> Split:
    """A random `share` of the authors is judged, at any time; threads they took part in are not learned from.

    Empty where no author is known.
    """
    authors = sorted({post.conditions.author for post in posts if post.conditions.author})
    chosen = set(np.random.default_rng(seed).permutation(authors)[: round(share * len(authors))].tolist())
    held = np.array([post.conditions.author in chosen for post in posts], dtype=bool)
    judge = np.flatnonzero(held)
    return Split(_apart(posts, np.flatnonzero(~held), judge), judge)


def _apart(posts: Sequence[RatedPost], train: Places, judge: Places) -> Places:
    authors = {posts[place].conditions.author for place in judge} - {""}
    threads = {_thread(posts[place]) for place in judge} - {""}
    kept = [
        int(place)
        for place in train
        if posts[place].conditions.author not in authors and _thread(posts[place]) not in threads
    ]
    return np.array(kept, dtype=np.int64)


def _thread(post: RatedPost) -> str:
    """What a thread began with: posts answering the same first words belong together."""
    return post.conditions.context.strip().split("\n", 1)[0]
