"""Honest splits: what is judged is newer than what was learned from, and shares no author and no thread with it.

A model that has seen an author's other posts, or the other replies of a thread, knows more than it will about new ones.
The same holds for the language model whose states critics read: where enough posts are left that it was not fine-tuned
on, those alone are judged.
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
    """Places of the rows to learn from and of those to be judged by, each in order of time. `unseen`: the language
    model was fine-tuned on none of those that are judged.
    """

    train: Places
    judge: Places
    unseen: bool = False

    @property
    def judged_on(self) -> str:
        """What the figures of this split are honest about, for people."""
        return (
            "posts that the language model was not fine-tuned on"
            if self.unseen
            else "posts most of which the language model was fine-tuned on"
        )


def newest(posts: Sequence[RatedPost], share: float, fewest: int = 1) -> Split:
    """The newest `share` of posts (in order of time) is judged; older posts of an author or a thread among them count
    for nothing. Of the newest, only the unseen are judged, where those are at least `fewest`.
    """
    count = round(share * len(posts))
    places = np.arange(len(posts))
    train, judge = places[: len(posts) - count], places[len(posts) - count :]
    unseen = np.array([place for place in judge if posts[place].unseen], dtype=np.int64)
    if enough := len(unseen) >= fewest:
        judge = unseen
    return Split(_apart(posts, train, judge), judge, enough)


def other_authors(posts: Sequence[RatedPost], share: float, seed: int, fewest: int = 1) -> Split:
    """A random `share` of the authors is judged, at any time; threads they took part in are not learned from. Authors
    of whom nothing was seen are judged alone, as many of them as the share says, where they wrote at least `fewest`
    posts.

    Empty where no author is known.
    """
    authors = sorted({post.conditions.author for post in posts if post.conditions.author})
    seen = {post.conditions.author for post in posts if not post.unseen}
    count = round(share * len(authors))
    held = _written_by_some(posts, [name for name in authors if name not in seen], count, seed)
    enough = int(held.sum()) >= fewest
    if not enough:
        held = _written_by_some(posts, authors, count, seed)
    judge = np.flatnonzero(held)
    return Split(_apart(posts, np.flatnonzero(~held), judge), judge, enough)


def _written_by_some(posts: Sequence[RatedPost], authors: Sequence[str], count: int, seed: int) -> NDArray[np.bool_]:
    """Which posts (n,) are by a random `count` of the authors."""
    chosen = set(np.random.default_rng(seed).permutation(authors)[:count].tolist())
    return np.array([post.conditions.author in chosen for post in posts], dtype=bool)


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
