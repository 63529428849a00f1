"""The six imitated platforms behind their faulty networks, with four accounts on each: three that Kilroy publishes to
(platforms limit a single one), and one for the naive publisher beside it. What a platform holds in the end counts.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

from tests.chaos.network import Network
from tests.faces.bluesky.fake import POST, FakeBluesky, did_of
from tests.faces.discord import fake as discord
from tests.faces.loopback import Reply, Request, serve
from tests.faces.mastodon.fake import FakeMastodon
from tests.faces.reddit.fake import FakeReddit
from tests.faces.telegram import fake as telegram
from tests.faces.x.fake import FakeX

ACCOUNTS = (0, 1, 2, 3)
OURS, NAIVE = (0, 1, 2), 3
Copies = list[tuple[str, str]]
"""What is on a platform: (the id by which a connection knows it, text)."""


class Platform(ABC):
    """One imitated platform on loopback. `url` is known once it is served."""

    name: ClassVar[str]
    mark: ClassVar[str]
    """What the control arm's requests, and no others, have in their address, their authorization or their content."""
    takes_images: ClassVar[bool] = True

    def __init__(self, factor: float) -> None:
        """`factor` divides what the platform itself remembers."""
        self.url = ""

    def answer(self, network: Network, request: Request) -> Reply:
        said = f"{request.path} {request.headers.get('authorization')}"
        return network.pass_on(
            self.name,
            lambda: self.act(request),
            publishes=request.method == "POST" and self.publishes(request),
            repeats=self.repeats(request),
            naive=self.mark in said or self.mark.encode() in request.body,
        )

    @abstractmethod
    def act(self, request: Request) -> Reply:
        """What the platform does and truly answers."""

    @abstractmethod
    def publishes(self, request: Request) -> bool:
        """Whether a POST request is to make a post."""

    def repeats(self, request: Request) -> bool:
        """Whether a request repeats a key that the platform remembers."""
        return False

    @abstractmethod
    def credentials(self, account: int) -> dict[str, Any]:
        """What the connection's form asks for."""

    @abstractmethod
    def copies(self) -> Copies:
        """Everything that our accounts have left there."""

    @abstractmethod
    def something_to_answer(self, account: int) -> str:
        """The id of somebody's post, made now, which this account can answer."""


class Mastodon(Platform):
    name = "mastodon"
    mark = f"kilroy{NAIVE}"

    def __init__(self, factor: float) -> None:
        super().__init__(factor)
        self.fake = FakeMastodon(key_seconds=3600.0 / factor)
        self.tokens = [self.fake.add_account(f"kilroy{n}") for n in ACCOUNTS]
        self.other = self.fake.accounts[self.fake.add_account("bob")]

    def act(self, request: Request) -> Reply:
        return self.fake.answer(request)

    def publishes(self, request: Request) -> bool:
        return request.path == "/api/v1/statuses"

    def repeats(self, request: Request) -> bool:
        return self.fake.knows(request)

    def credentials(self, account: int) -> dict[str, Any]:
        return {"instance": self.url, "access_token": self.tokens[account]}

    def copies(self) -> Copies:
        own = [status for status in self.fake.statuses if status["account"]["acct"] != "bob"]
        return [(status["id"], status["sent"]) for status in own]

    def something_to_answer(self, account: int) -> str:
        return str(self.fake.add_status(self.other, "Hello, anybody?")["id"])


class X(Platform):
    name = "x"
    mark = f"kilroy{NAIVE}"

    def __init__(self, factor: float) -> None:
        super().__init__(factor)
        self.fake = FakeX(limit=100_000)
        self.tokens = [self.fake.add_account(f"kilroy{n}") for n in ACCOUNTS]
        self.fake.add_account("bob")

    def act(self, request: Request) -> Reply:
        return self.fake.answer(request)

    def publishes(self, request: Request) -> bool:
        return request.path == "/2/tweets"

    def credentials(self, account: int) -> dict[str, Any]:
        return {"client_id": "app", "automated": True, "access_token": self.tokens[account]}

    def copies(self) -> Copies:
        posts = list(self.fake.posts.values())
        return [(post["id"], post["sent"]) for post in posts if post["username"] != "bob"]

    def something_to_answer(self, account: int) -> str:
        return str(self.fake.add_post("bob", f"@kilroy{account} What do you think?")["id"])


class Bluesky(Platform):
    name = "bluesky"
    mark = did_of(f"kilroy{NAIVE}.test")

    def __init__(self, factor: float) -> None:
        super().__init__(factor)
        self.fake = FakeBluesky(*(f"kilroy{n}.test" for n in ACCOUNTS), "bob.test")
        self.made = 0

    def act(self, request: Request) -> Reply:
        return self.fake.answer(request)

    def publishes(self, request: Request) -> bool:
        return request.path.endswith("putRecord") and request.json["collection"] == POST

    def repeats(self, request: Request) -> bool:
        if request.method != "POST" or not self.publishes(request):
            return False
        known = [account.records for account in self.fake.accounts.values() if account.did == request.json["repo"]]
        return (POST, request.json["rkey"]) in known[0]

    def credentials(self, account: int) -> dict[str, Any]:
        return {
            "identifier": f"kilroy{account}.test",
            "app_password": "right",
            "host": self.url,
            "label_account": True,
        }

    def copies(self) -> Copies:
        return [
            (record["uri"], record["value"]["text"])
            for handle, account in self.fake.accounts.items()
            if handle != "bob.test"
            for (collection, _), record in account.records.items()
            if collection == POST
        ]

    def something_to_answer(self, account: int) -> str:
        self.made += 1
        bob = self.fake.accounts["bob.test"]
        value = {"$type": POST, "text": "Hello, anybody?", "createdAt": "2026-01-01T00:00:00Z"}
        made = self.fake._store(bob, POST, f"3k{self.made:011d}".translate(str.maketrans("0189", "bcde")), value)
        return str(made["uri"])


class Discord(Platform):
    name = "discord"
    mark = f"/{discord.OTHER}9/"
    channels = (discord.CHANNEL, discord.OTHER, discord.THREAD, f"{discord.OTHER}9")

    def __init__(self, factor: float) -> None:
        super().__init__(factor)
        discord.NONCE_SECONDS = 180.0 / factor
        self.fake = discord.FakeDiscord()
        fourth = self.channels[NAIVE]
        self.fake.channels[fourth] = {**self.fake.channels[discord.OTHER], "id": fourth}
        self.fake.messages[fourth] = []

    def act(self, request: Request) -> Reply:
        return self.fake.answer(request)

    def publishes(self, request: Request) -> bool:
        return request.path.endswith("/messages")

    def credentials(self, account: int) -> dict[str, Any]:
        return {"token": discord.TOKEN, "channel": self.channels[account]}

    def copies(self) -> Copies:
        own = [
            message
            for channel in self.channels
            for message in self.fake.messages[channel]
            if message["author"]["id"] == discord.ME
        ]
        return [(f"{message['channel_id']}-{message['id']}", message["content"]) for message in own]

    def something_to_answer(self, account: int) -> str:
        channel = self.channels[account]
        return f"{channel}-{self.fake.write(channel, 'Hello, anybody?')['id']}"


class Telegram(Platform):
    name = "telegram"
    mark = f"12345678{NAIVE}:"

    def __init__(self, factor: float) -> None:
        super().__init__(factor)
        names = [f"12345678{n}:AA{'canary' * 5}{n}" for n in ACCOUNTS]
        self.fakes = {token: telegram.FakeTelegram(token=token, username=f"news_{n}") for n, token in enumerate(names)}

    def act(self, request: Request) -> Reply:
        return self.fakes[request.path.split("/")[1].removeprefix("bot")].answer(request)

    def publishes(self, request: Request) -> bool:
        return "/send" in request.path

    def credentials(self, account: int) -> dict[str, Any]:
        return {"token": list(self.fakes)[account], "chat": f"@news_{account}"}

    def copies(self) -> Copies:
        own = [
            message
            for fake in self.fakes.values()
            for message in fake.messages[telegram.CHANNEL].values()
            if "sender_chat" in message
        ]
        return [(_telegram_id(message), message.get("text") or message.get("caption", "")) for message in own]

    def something_to_answer(self, account: int) -> str:
        fake = list(self.fakes.values())[account]
        return _telegram_id(fake.write(telegram.CHANNEL, "Hello, anybody?"))


def _telegram_id(message: Mapping[str, Any]) -> str:
    return f"{message['chat']['id']}:{message['message_id']}:{message['date']}"


class Reddit(Platform):
    name = "reddit"
    mark = f"live{NAIVE}"
    takes_images = False

    def __init__(self, factor: float) -> None:
        super().__init__(factor)
        self.fakes = {f"live{n}": FakeReddit(token=f"live{n}") for n in ACCOUNTS}
        self.lock = threading.Lock()

    def act(self, request: Request) -> Reply:
        with self.lock:
            return self.fakes[request.headers["authorization"].removeprefix("bearer ")].answer(request)

    def publishes(self, request: Request) -> bool:
        return request.path.strip("/") in ("api/submit", "api/comment")

    def credentials(self, account: int) -> dict[str, Any]:
        return {"client_id": "app", "subreddit": "kilroytest", "access_token": f"live{account}"}

    def copies(self) -> Copies:
        own = [data for fake in self.fakes.values() for data in fake.posts()]
        return [(data["name"], data.get("body") or f"{data['title']}\n{data['selftext']}") for data in own]

    def something_to_answer(self, account: int) -> str:
        with self.lock:
            return str(self.fakes[f"live{account}"].add("t3", author="bob")["name"])


PLATFORMS: tuple[type[Platform], ...] = (Mastodon, Bluesky, Discord, X, Reddit, Telegram)


@contextmanager
def served(network: Network, factor: float) -> Iterator[dict[str, Platform]]:
    """All six on loopback, until the block ends."""
    with ExitStack() as stack:
        platforms = {kind.name: kind(factor) for kind in PLATFORMS}
        for platform in platforms.values():
            loopback = stack.enter_context(serve())
            platform.url = loopback.url
            loopback.answer = lambda request, asked=platform: asked.answer(network, request)  # type: ignore[misc]
        yield platforms


def environment(platforms: Mapping[str, Platform]) -> dict[str, str]:
    """What tells Kilroy to use these platforms."""
    bases = {f"KILROY_{name.upper()}_API_BASE": platform.url for name, platform in platforms.items()}
    hosts = (platform.url.partition("://")[2] for platform in platforms.values())
    return bases | {"KILROY_OUTBOUND_ALLOW": ",".join(hosts)}
