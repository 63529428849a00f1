"""What a face is: one social platform behind seven verbs, with what it can do stated as data.

Implementations live in `faces/kinds/<name>/` and are listed in `faces/registry.py`. Callers ask for a capability,
never for a name.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from faces import counting
from faces.entities import Entity, marked

if TYPE_CHECKING:
    from faces.models import Connection


class FaceError(Exception):
    """A platform said no, or could not be asked.

    `permanent`: retrying the same request cannot help. `sent`: whether the platform may have acted on it; only an
    error with `sent=False` proves that nothing was published. `retry_after`: seconds the platform asked us to wait.
    `credentials`: the platform does not take the connection's credentials (any more); its owner must connect again.
    `status`: the HTTP status of its answer, 0 where there was none.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool,
        sent: bool = False,
        retry_after: float | None = None,
        credentials: bool = False,
        status: int = 0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.credentials = credentials
        self.permanent = permanent
        self.sent = sent
        self.retry_after = retry_after


Operation = Literal["publish", "read"]
BUCKETS = 10
"""Parts of a limit's window in which calls are counted."""
Reads = Literal["history", "accounts", "mentions", "comments", "communities"]


@dataclass(frozen=True)
class Limit:
    """What a platform allows one connection: at most `calls` of an operation in any window of `seconds`."""

    operation: Operation
    calls: int
    seconds: int

    @property
    def covered(self) -> float:
        """Seconds for which the governor counts a call (in tenths of the window, so a tenth more)."""
        return self.seconds * (1 + 1 / BUCKETS)


@dataclass(frozen=True)
class Capabilities:
    """What a platform can do.

    `max_images`: images that one post may carry; 0 when it takes none.
    `reads`: what can be read of it: "history" of the own account, posts of other "accounts", "mentions", "comments"
    below own posts, and named "communities" (a subreddit, a hashtag, a channel).
    `replies`: to whom a reply may be sent without being asked: "summoned" when only to posts that mention or answer the
    account, "community" when also where a community's rules allow it.
    `label`: how posts are marked as automated: "set" by the face, "checked" by `verify`, or by the "platform" itself.
    `limits`: its published rate limits; what it says in its answers comes before them.
    `batch`: posts whose reactions one read call can ask for.
    `idempotency`: "key" when a repeated publish with the same key is harmless for `key_window` seconds after the first,
    "none" when it would publish twice.
    `local`: its platform is this installation itself: publishing takes milliseconds, and one publisher takes several
    posts at a time.
    `simulated`: reactions come from a simulation and must be labelled so wherever they are shown.
    `may_learn`: whether its terms let a model learn from what is read there without a permission of their own.
    """

    max_length: int
    counts_by: Literal["characters", "graphemes", "weighted", "utf16"]
    metrics: tuple[str, ...]
    can_reply: bool = False
    can_thread: bool = False
    max_images: int = 0
    reads: frozenset[Reads] = frozenset()
    replies: Literal["summoned", "community"] = "summoned"
    label: Literal["set", "checked", "platform"] = "platform"
    limits: tuple[Limit, ...] = ()
    batch: int = 100
    idempotency: Literal["key", "none"] = "none"
    key_window: float = math.inf
    local: bool = False
    simulated: bool = False
    may_learn: bool = False

    @property
    def takes_images(self) -> bool:
        return self.max_images > 0


@dataclass(frozen=True)
class OutgoingImage:
    """An image to publish: encoded bytes, media type, and the alternative text for people who cannot see it."""

    content: bytes
    media_type: str
    alt_text: str


@dataclass(frozen=True)
class OutgoingPost:
    """What is to be published: a new post, or a reply when `reply_to` names the platform's id of another post."""

    text: str
    images: tuple[OutgoingImage, ...] = ()
    reply_to: str = ""


@dataclass(frozen=True)
class Published:
    """Proof of publication: the platform's own id for the post, where to see it, and when the platform says it
    appeared.
    """

    remote_id: str
    url: str
    at: datetime


@dataclass(frozen=True)
class Verification:
    """Result of checking a connection: the account's name there, and what is missing, in words for its owner.
    `settings`: what the platform said of itself and the face wants to remember (an instance's limits). `present`: what
    was checked and is in place, in the same words.
    """

    account: str
    missing: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    present: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.missing


@dataclass(frozen=True)
class Reading:
    """Reactions to one post at one moment. A metric the platform did not give is absent, never 0. `followers` is the
    exposure.
    """

    metrics: Mapping[str, int]
    followers: int | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class Parent:
    """A post above another one in its thread."""

    author: str
    text: str


@dataclass(frozen=True)
class RemotePost:
    """A post read from a platform: own history, or something in the inbox that one could answer.

    `parents`: the posts above it, oldest first, as far as the platform gave them. `depth`: how many there are (0 for a
    post that starts a thread). `root_id`: the thread's first post. `summoned`: it mentions or answers the account.
    `closed`: why nobody can answer it (deleted, removed, locked), empty when one can.
    """

    remote_id: str
    text: str
    at: datetime
    author: str = ""
    url: str = ""
    metrics: Mapping[str, int] = field(default_factory=dict)
    reply_to: str = ""
    root_id: str = ""
    depth: int = 0
    parents: tuple[Parent, ...] = ()
    community: str = ""
    language: str = ""
    author_is_bot: bool = False
    summoned: bool = False
    is_repost: bool = False
    closed: str = ""


class Face(ABC):
    """One connection's way to its platform. Every verb raises FaceError, and nothing else, for what the platform
    does.
    """

    capabilities: Capabilities

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @abstractmethod
    def verify(self) -> Verification:
        """Check the credentials and every permission the other verbs need."""

    @abstractmethod
    def publish(self, post: OutgoingPost, key: str) -> Published:
        """Publish once. `key` identifies the attempt for good: platforms with idempotency "key" return the first
        result again.
        """

    def publish_some(self, posts: Sequence[tuple[OutgoingPost, str]]) -> list[Published]:
        """Publish the first of these posts, each with its key, and those after it that the platform takes in the same
        step. Returns the proofs of those that were published, from the first on. FaceError is the first one's: then
        none of the others was sent.
        """
        return [self.publish(*posts[0])]

    @abstractmethod
    def find(self, key: str, post: OutgoingPost, since: datetime) -> Iterable[Published]:
        """What an earlier `publish` with this key (or, without keys, these very bytes), sent at `since` or later, may
        have left on the platform: the likeliest first, nothing when it left nothing.
        """

    @abstractmethod
    def delete(self, remote_id: str) -> None:
        """Take a post down. Deleting what is gone is not an error."""

    @abstractmethod
    def metrics(self, remote_ids: Sequence[str]) -> dict[str, Reading | None]:
        """Read reactions in one batch: an entry per id asked for, None where the post is gone."""

    @abstractmethod
    def history(self, since: datetime | None, account: str = "") -> Iterable[RemotePost]:
        """Posts since then, oldest first: the own account's, or another `account`'s where "accounts" can be read."""

    @abstractmethod
    def inbox(self, since: datetime | None, community: str = "") -> Iterable[RemotePost]:
        """What one could answer since then, oldest first: mentions and comments, or what was posted in a `community`
        where those can be read. Own posts are not in it. Empty where the platform has none.
        """

    def look_up(self, remote_id: str) -> RemotePost | None:
        """One post as it is now, with its thread, just before it is answered. None when it is gone."""
        raise FaceError("This platform cannot show a single post.", permanent=True)

    def count(self, text: str) -> int:
        """Length of the text as this platform counts it, against `capabilities.max_length`."""
        return len(text)

    def excess(self, text: str) -> int:
        """By how much the text is longer than this platform's limits of length allow, also as the beginning of a longer
        one; 0 or less when it fits.
        """
        return self.count(text) - self.capabilities.max_length

    def objection(self, post: OutgoingPost) -> str:
        """Why this platform could never take this post, for its author; empty when it could. Asks the platform
        nothing.
        """
        if (length := self.count(post.text)) > self.capabilities.max_length:
            return f"The text has {length} characters; {self.connection} takes at most {self.capabilities.max_length}."
        return ""

    def entities(self, text: str) -> list[Entity]:
        """What this platform makes links, mentions and hashtags of, in the order of the text. Asks it nothing."""
        return marked(text, ("link", counting.LINK))

    def title_and_text(self, post: OutgoingPost) -> tuple[str, str]:
        """A title, where posts of this platform have one, and the text below it."""
        return "", post.text

    def price(self, post: OutgoingPost) -> int:
        """What publishing this post costs, in millionths of a US dollar."""
        return 0

    def read_price(self, remote_ids: Sequence[str]) -> int:
        """What one reading of these posts' reactions costs, in millionths of a US dollar."""
        return 0

    def clock_speed(self) -> float:
        """How many of the platform's seconds pass in one of ours: 1 everywhere but in a sandbox."""
        return 1.0
