"""The campaign's rows: connections to all platforms, bots with a slot every second, and posts of many kinds."""

from __future__ import annotations

import itertools
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection, transaction

from accounts.models import Organization
from accounts.tenancy import tenant
from bots.models import Bot, Post
from bots.states import PostState
from faces.keys import new_key
from faces.oauth import expiry
from faces.registry import FACES
from faces.services import check_connection, checked_settings, split_secrets, store_connection
from tests.chaos.platforms import NAIVE, OURS, Platform
from tests.faces.x.rules import SCOPES
from tests.factories import make_bot, make_image, make_organization, make_post, make_schedule

TAG = re.compile(r"kilroy-(\d{5})")
ON_ITS_WAY = ("approved", "scheduled", "queued", "leased", "sending", "unknown")
TEXTS = (
    "A plain sentence about the weather",
    "Quotes “and” dashes – and 'others'",
    "Ampersands & <brackets> that somebody escapes",
    "A link: https://example.org/path?a=1&b=2 and more",
    "Emoji 🎉, a family 👩‍👩‍👧 and a flag 🇮🇸",
    "Two lines\nof text",
    "Ümläute, ñandú, 漢字 and العربية",
    "A tag #kilroy, and a price of $5",
)
Result = TypeVar("Result")


@dataclass
class Publishing:
    """What is published by whom. `bots`: those of Kilroy; `naive_bots`: accounts of the control arm. `first`: number of
    the first text; no two of a campaign have the same.
    """

    platforms: Mapping[str, Platform]
    seed: int
    name: str = "Chaos"
    first: int = 1
    bots: list[Bot] = field(default_factory=list)
    naive_bots: list[Bot] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.organization: Organization = make_organization(self.name)
        self._random = random.Random(self.seed)
        self._numbers = itertools.count(self.first)
        with tenant(self.organization.pk):
            for platform in self.platforms.values():
                self.bots += [self._bot(platform, account) for account in OURS]
                self.naive_bots.append(self._bot(platform, NAIVE))
            self._turns = itertools.cycle(self.bots)
            for bot in self.bots:
                make_schedule(bot, interval_seconds=1)

    def approve(self, count: int) -> None:
        """Approve that many posts more, which take the next slots of their bots."""
        with tenant(self.organization.pk):
            for number in itertools.islice(self._numbers, count):
                self._post(next(self._turns), number)

    def publish_naively(self, count: int) -> None:
        """Hand that many posts to the control arm."""
        from tests.chaos.naive import publish_naively

        with tenant(self.organization.pk):
            for number in itertools.islice(self._numbers, count):
                post = self._post(self.naive_bots[number % len(self.naive_bots)], number)
                publish_naively.apply_async([str(self.organization.pk), str(post.pk)], retry=False)

    def on_their_way(self) -> int:
        """How many of Kilroy's posts are not settled yet."""
        return patiently(lambda: self.rows().filter(state__in=ON_ITS_WAY).count())

    def untried(self) -> int:
        """How many were not sent once."""
        return patiently(lambda: self.rows().filter(state__in=ON_ITS_WAY, attempts=0).count())

    def rows(self) -> Any:
        # everyone: the campaign judges from outside of any tenant.
        return Post.everyone.filter(bot__in=self.bots)

    def naive_texts(self) -> dict[UUID, str]:
        """The control arm's posts."""
        # everyone: as above.
        return dict(Post.everyone.filter(bot__in=self.naive_bots).values_list("pk", "text"))

    def _bot(self, platform: Platform, account: int) -> Bot:
        given = platform.credentials(account)
        token = {} if platform.name == "mastodon" else {"access_token": given.pop("access_token", "")}
        public, secret = split_secrets(platform.name, checked_settings(platform.name, given))
        if token.get("access_token"):  # as the platform's own page would have given it
            secret |= token | {"scope": SCOPES if platform.name == "x" else "*", "expires_at": expiry(86_400)}
        name = f"{platform.name} {account}"
        connection = store_connection(platform.name, name, public, secret)
        found = check_connection(connection.pk)
        if not found.ok:
            raise RuntimeError(f"{name} cannot be used: {found.missing}")
        connection.refresh_from_db()
        assert connection.kind in FACES
        return make_bot(connection, name=name)

    def _post(self, bot: Bot, number: int) -> Post:
        platform, account = self.platforms[bot.connection.kind], int(bot.name[-1])
        text = f"kilroy-{number:05d} {self._random.choice(TEXTS)}"
        answers = self._random.random() < 0.15
        reply_to = platform.something_to_answer(account) if answers else ""
        with transaction.atomic():
            post = make_post(bot, PostState.APPROVED, text, reply_to=reply_to, platform_key=new_key())
            if platform.takes_images and self._random.random() < 0.1:
                make_image(post)
        return post


def patiently(step: Callable[[], Result]) -> Result:
    """The step's result, asked for again while the database is away."""
    for _ in range(60):
        try:
            return step()
        except (OperationalError, InterfaceError):
            connection.close()
            time.sleep(0.5)
    return step()
