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


@dataclass(frozen=True)
class Capabilities:
    """What a platform can do.

    `idempotency`: "key" when a repeated publish with the same key is harmless for `key_window` seconds after the first,
    "none" when it would publish twice.
    `simulated`: reactions come from a simulation and must be labelled so wherever they are shown.
    """

    max_length: int
    counts_by: Literal["characters", "graphemes", "weighted", "utf16"]
    metrics: tuple[str, ...]
    can_reply: bool = False
    takes_images: bool = False
    idempotency: Literal["key", "none"] = "none"
    key_window: float = math.inf
    simulated: bool = False
    may_learn: bool = False


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
    `settings`: what the platform said of itself and the face wants to remember (an instance's limits).
    """

    account: str
    missing: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

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
class RemotePost:
    """A post read from a platform: own history, or something in the inbox that one could answer."""

    remote_id: str
    text: str
    at: datetime
    author: str = ""
    url: str = ""
    metrics: Mapping[str, int] = field(default_factory=dict)


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
    def history(self, since: datetime | None) -> Iterable[RemotePost]:
        """The account's own posts since then, oldest first."""

    @abstractmethod
    def inbox(self, since: datetime | None) -> Iterable[RemotePost]:
        """Mentions and comments since then, oldest first; empty where the platform has none."""

    def count(self, text: str) -> int:
        """Length of the text as this platform counts it, against `capabilities.max_length`."""
        return len(text)

    def clock_speed(self) -> float:
        """How many of the platform's seconds pass in one of ours: 1 everywhere but in a sandbox."""
        return 1.0
