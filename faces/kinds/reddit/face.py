"""The Reddit face. Interface: reddit.com/dev/api; a post, a comment or a deletion is one request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

from praw.const import API_PATH

from accounts import clock
from faces import counting
from faces.contract import (
    Capabilities,
    Face,
    FaceError,
    Limit,
    OutgoingPost,
    Published,
    Reading,
    RemotePost,
    Verification,
)
from faces.entities import NAME_AFTER_SLASH, Entity, marked
from faces.kinds.reddit import rules
from faces.kinds.reddit.client import BATCH, Client
from faces.kinds.reddit.errors import listed
from faces.kinds.reddit.things import MOST_PARENTS, Thing, comparable, counts, gone, moment, remote, text_of
from faces.kinds.reddit.tokens import SCOPES

ALL_PAGES = 10
"""Reddit's lists end at a thousand entries."""
INBOX_PAGES = 3


class RedditFace(Face):
    """See `faces.contract.Face`. A text's first line is the title, the rest the body. What the subreddit asks of posts
    is read when the connection is checked, and kept in its settings.
    """

    capabilities = Capabilities(
        max_length=rules.TITLE + 2 + rules.BODY,
        counts_by="characters",
        metrics=("likes", "upvote_ratio", "comments"),
        can_reply=True,
        reads=frozenset({"history", "accounts", "mentions", "comments", "communities"}),
        replies="community",
        label="platform",
        limits=(Limit("publish", 20, 60), Limit("read", 80, 60)),  # together Reddit's hundred per minute
        batch=BATCH,
        idempotency="none",
        may_learn=False,
    )

    def verify(self) -> Verification:
        me = self._client.account()
        granted = str(self.connection.secrets.get("scope", "")).split()
        missing = [f"Reddit has suspended u/{me['name']}."] if me.get("is_suspended") else []
        if "*" not in granted and (lacking := [scope for scope in SCOPES if scope not in granted]):
            missing.append(f"Connect again and allow everything on Reddit's page; missing: {', '.join(lacking)}.")
        present = [f"Allowed: {', '.join(SCOPES)}."] if not missing else []
        settings: dict[str, Any] = {"username": me["name"]}
        if subreddit := self.connection.settings.get("subreddit"):
            found = rules.check_subreddit(self._client, subreddit, self.connection.settings)
            missing += found.missing
            present += found.present
            settings |= found.settings
        else:
            settings |= rules.NO_RULES
        return Verification(f"u/{me['name']}", tuple(missing), settings, tuple(present))

    def publish(self, post: OutgoingPost, key: str) -> Published:
        if objection := self.objection(post):
            raise FaceError(objection, permanent=True)
        if post.reply_to:
            answer = self._client.post(API_PATH["comment"], thing_id=post.reply_to, text=post.text)
        else:
            title, body = rules.title_and_body(post.text)
            answer = self._client.post(
                API_PATH["submit"],
                kind="self",
                sr=self._subreddit(),
                title=title,
                text=body,
                resubmit=True,
                sendreplies=True,
                nsfw=False,
                spoiler=False,
                validate_on_submit=True,
                **self._flair(),
            )
        # The id first: a refusal (RATELIMIT) may stand beside a post that was made.
        if (published := _published(answer)) is not None:
            return published
        raise listed(answer) or FaceError("Reddit's answer names no post.", permanent=False, sent=True)

    def find(self, key: str, post: OutgoingPost, since: datetime) -> Iterable[Published]:
        where = "comments" if post.reply_to else "submitted"
        wanted = comparable(post.text)
        for thing in self._client.listing(f"user/{self._me}/{where}", since, ALL_PAGES, sort="new"):
            data = thing["data"]
            if comparable(text_of(thing)) == wanted and self._went_there(data, post):
                yield Published(data["name"], remote(thing).url, moment(data))

    def delete(self, remote_id: str) -> None:
        try:
            self._client.act(API_PATH["del"], id=remote_id)
        except FaceError as error:
            if error.status not in (404, 410):
                raise

    def metrics(self, remote_ids: Sequence[str]) -> dict[str, Reading | None]:
        found = self._client.things(remote_ids)
        return {
            remote_id: Reading(counts(thing)) if thing and not gone(thing["data"]) else None
            for remote_id, thing in ((remote_id, found.get(remote_id)) for remote_id in remote_ids)
        }

    def history(self, since: datetime | None, account: str = "") -> Iterable[RemotePost]:
        name = rules.account_name(account) or self._me
        things = self._client.listing(f"user/{name}/overview", since, ALL_PAGES, sort="new")
        return [remote(thing) for thing in sorted(things, key=_age)]

    def inbox(self, since: datetime | None, community: str = "") -> Iterable[RemotePost]:
        if community:
            name = rules.community_name(community)
            things = list(self._client.listing(f"r/{name}/new", since, INBOX_PAGES))
            things += self._client.listing(f"r/{name}/comments/", since, INBOX_PAGES)
        else:
            told = self._client.listing(API_PATH["inbox"], since, INBOX_PAGES)
            # What the inbox says of a comment lacks its thread and its state; messages are not answered.
            names = [thing["data"]["name"] for thing in told if thing["kind"] == "t1"]
            things = list(self._client.things(names).values())
        others = [thing for thing in things if str(thing["data"].get("author")).lower() != self._me.lower()]
        above = self._above(others)
        posts = (remote(thing, above[thing["data"]["name"]], self._me) for thing in sorted(others, key=_age))
        return [post if community else replace(post, summoned=True) for post in posts]

    def look_up(self, remote_id: str) -> RemotePost | None:
        thing = self._client.things([remote_id]).get(remote_id)
        if thing is None:
            return None
        return remote(thing, self._above([thing])[remote_id], self._me)

    def excess(self, text: str) -> int:
        return rules.excess(text, self.connection.settings)

    def entities(self, text: str) -> list[Entity]:
        return marked(text, ("link", counting.LINK), ("mention", NAME_AFTER_SLASH))

    def title_and_text(self, post: OutgoingPost) -> tuple[str, str]:
        return ("", post.text) if post.reply_to else rules.title_and_body(post.text)

    def objection(self, post: OutgoingPost) -> str:
        return rules.objection(post, self.connection.settings)

    @cached_property
    def _client(self) -> Client:
        return Client(self.connection)

    @cached_property
    def _me(self) -> str:
        """The account's name, as the last check found it."""
        return str(self.connection.settings.get("username") or self._client.account()["name"])

    def _subreddit(self) -> str:
        return str(self.connection.settings.get("subreddit") or f"u_{self._me}")

    def _flair(self) -> dict[str, str]:
        chosen = {name: self.connection.settings.get(name) for name in ("flair_id", "flair_text")}
        return {name: str(value) for name, value in chosen.items() if value}

    def _went_there(self, data: dict[str, Any], post: OutgoingPost) -> bool:
        if post.reply_to:
            return bool(data.get("parent_id") == post.reply_to)
        return str(data.get("subreddit", "")).lower() == self._subreddit().lower()

    def _above(self, things: Sequence[Thing]) -> dict[str, list[Thing]]:
        """Full name of each thing → what stands above it, oldest first: the thread's first post and the nearest
        `MOST_PARENTS` comments. One request for each step up (and hundred things), whatever their number.
        """
        known: dict[str, Thing] = {thing["data"]["name"]: thing for thing in things}
        edge = list(things)
        for _ in range(MOST_PARENTS):
            wanted = {thing["data"].get(what) for thing in edge for what in ("parent_id", "link_id")} - {None}
            if not (unknown := sorted(wanted - set(known))):
                break
            found = self._client.things(unknown)
            known |= found
            edge = list(found.values())
        return {thing["data"]["name"]: _chain(thing, known) for thing in things}


def _chain(thing: Thing, known: dict[str, Thing]) -> list[Thing]:
    chain: list[Thing] = []
    root = known.get(thing["data"].get("link_id", ""))
    above = known.get(thing["data"].get("parent_id", ""))
    while above is not None and above["kind"] == "t1" and len(chain) < MOST_PARENTS:
        chain.append(above)
        above = known.get(above["data"].get("parent_id", ""))
    return [root, *reversed(chain)] if root is not None else chain[::-1]


def _age(thing: Thing) -> datetime:
    return moment(thing["data"])


def _published(answer: Any) -> Published | None:
    """The post or comment that an answer names; None when it names none."""
    try:
        data = answer["json"]["data"]
        data = data["things"][0]["data"] if "things" in data else data
        name = str(data.get("name") or f"t3_{data['id']}")
        url = data.get("url") or f"https://www.reddit.com{data.get('permalink', '')}"
        return Published(name, url, moment(data) if data.get("created_utc") else clock.now())
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None
