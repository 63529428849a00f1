"""The X face: tweepy speaks to X, one request per call (`faces.kinds.x.api`)."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import islice
from typing import Any

from accounts import clock
from faces import counting
from faces.contract import (
    Capabilities,
    Face,
    FaceError,
    Limit,
    OutgoingImage,
    OutgoingPost,
    Published,
    Reading,
    RemotePost,
    Verification,
)
from faces.entities import HASHTAG, NAME, Entity, apart, marked
from faces.kinds.x.api import client
from faces.kinds.x.flow import SCOPES, renew
from faces.kinds.x.posts import (
    METRICS,
    READ,
    Json,
    Known,
    comparable,
    comparable_reply,
    counts,
    is_missing,
    plain_text,
    posted_at,
    refers,
)
from faces.oauth import fresh_secrets

PAGE = 100
MOST_PAGES = 32
"""X keeps 3,200 posts of a timeline."""
SECOND = timedelta(seconds=1)
FIRST_DAY = datetime(2010, 11, 6, 0, 0, 1, tzinfo=UTC)
"""Before it, X's interface lists nothing."""
FIRST_SPAN, SHORTEST_SPAN, LONGEST_SPAN = timedelta(days=30), timedelta(hours=1), timedelta(days=365)
MOST_PARENTS = 10
PREPARING_SECONDS = 9.0
"""Renewing the token and uploading images must leave the request that publishes its 20 of a publisher's 30 seconds."""
POST, POST_WITH_LINK, ALT_TEXT, READ_POST = 15_000, 200_000, 5_000, 5_000
MOST_BYTES = {"image/gif": 15 * 1024 * 1024}
MOST_IMAGE_BYTES = 5 * 1024 * 1024
MOST_ALT_TEXT = 1000

_ID = re.compile(r"[0-9]{1,19}")
_FORBIDDEN = re.compile("[\ufffe\ufeff\uffff]")
_CASHTAG = re.compile(r"(?<![\w$])\$[A-Za-z]{1,6}(?:[._][A-Za-z]{1,2})?(?!\w)")


class XFace(Face):
    """See `faces.contract.Face`."""

    capabilities = Capabilities(
        max_length=280,
        counts_by="weighted",
        metrics=METRICS,
        can_reply=True,
        can_thread=True,
        max_images=4,
        reads=frozenset({"history", "accounts", "mentions"}),
        replies="summoned",
        label="checked",
        limits=(Limit("publish", 100, 15 * 60), Limit("read", 300, 15 * 60)),
        batch=PAGE,
    )

    def verify(self) -> Verification:
        me = _one(self._client.get_me(user_auth=False), "account")
        allowed = str(self._secrets.get("scope", "")).split()
        present, missing = [f"The app may act for @{me['username']}."], []
        if lacking := [scope for scope in SCOPES if scope not in allowed]:
            missing.append(f"The app was not allowed {', '.join(lacking)}: connect again and allow all that X asks.")
        else:
            present.append(f"It was allowed {', '.join(SCOPES)}.")
        if self.connection.settings.get("automated"):
            present.append("You say that the account carries the label “Automated”.")
        else:
            missing.append(
                "Switch on the label “Automated” on x.com (Settings → Your account → Automation), "
                "then tick its box here."
            )
        return Verification(f"@{me['username']}", tuple(missing), {"user_id": str(me["id"])}, tuple(present))

    def publish(self, post: OutgoingPost, key: str) -> Published:
        start = time.monotonic()
        x = self._client
        media = [self._upload(image) for image in post.images]
        if time.monotonic() - start > PREPARING_SECONDS:
            raise FaceError("Getting ready to publish took too long; nothing was published.", permanent=False)
        answer = x.create_tweet(
            text=post.text or None,
            in_reply_to_tweet_id=post.reply_to or None,
            media_ids=media or None,
            user_auth=False,
        )
        made = answer.get("data")
        remote_id = str(made.get("id", "")) if isinstance(made, dict) else ""
        if not _ID.fullmatch(remote_id):
            raise FaceError("X's answer names no post.", permanent=False, sent=True)
        return Published(remote_id, f"https://x.com/i/status/{remote_id}", posted_at(remote_id))

    def find(self, key: str, post: OutgoingPost, since: datetime) -> Iterable[Published]:
        compared = comparable_reply if post.reply_to else comparable
        wanted = compared(post.text)
        for found in self._timeline(self._user_id, since):
            if compared(plain_text(found)) == wanted and refers(found, "replied_to") == post.reply_to:
                remote = self._known.remote(found)
                yield Published(remote.remote_id, remote.url, remote.at)

    def delete(self, remote_id: str) -> None:
        try:
            answer = self._client.delete_tweet(remote_id, user_auth=False)
        except FaceError as error:
            if error.status == 404:
                return
            raise
        if not (answer.get("data") or {}).get("deleted"):
            raise FaceError("X did not say that it has deleted the post.", permanent=False, sent=True)

    def metrics(self, remote_ids: Sequence[str]) -> dict[str, Reading | None]:
        readings: dict[str, Reading | None] = {}
        for start in range(0, len(remote_ids), PAGE):
            readings |= self._readings(list(remote_ids[start : start + PAGE]))
        return readings

    def history(self, since: datetime | None, account: str = "") -> Iterable[RemotePost]:
        user_id = self._id_of(account) if account else self._user_id
        return (self._known.remote(post) for post in self._written(user_id, since))

    def inbox(self, since: datetime | None, community: str = "") -> Iterable[RemotePost]:
        mentions = list(self._pages(self._client.get_users_mentions, self._user_id, since))
        others = [post for post in reversed(mentions) if str(post.get("author_id")) != self._user_id]
        return [remote for post in others if not (remote := self._known.remote(post)).is_repost]

    def look_up(self, remote_id: str) -> RemotePost | None:
        post = self._fetch(remote_id)
        if post is None or "id" not in post:
            return None if post is None else _hidden(remote_id, post)
        for _ in range(MOST_PARENTS):
            top = [post, *self._known.above(post)][-1]
            above = refers(top, "replied_to")
            parent = self._fetch(above) if above and above not in self._known.posts else None
            if parent is None or "id" not in parent:
                break
            self._known.posts[above] = parent
        return self._known.remote(post)

    def count(self, text: str) -> int:
        return counting.weighted(text)

    def entities(self, text: str) -> list[Entity]:
        links = [Entity(link.start(), link.end(), "link") for link in counting.x_links(text)]
        return apart([*links, *marked(text, ("mention", NAME), ("hashtag", HASHTAG))])

    def objection(self, post: OutgoingPost) -> str:
        if found := _FORBIDDEN.search(post.text):
            return f"X refuses the invisible character U+{ord(found[0]):04X}: take it out of the text."
        if len(_CASHTAG.findall(post.text)) > 1:
            return "X takes at most one cashtag ($ABC) in a post that a program sends."
        if len(post.images) > 1 and any(image.media_type == "image/gif" for image in post.images):
            return "X takes a GIF only alone, without other images."
        for image in post.images:
            most = MOST_BYTES.get(image.media_type, MOST_IMAGE_BYTES)
            if len(image.content) > most:
                return f"An image is larger than the {most // 1024**2} MB that X takes."
            if len(image.alt_text) > MOST_ALT_TEXT:
                return f"An image's alternative text is longer than the {MOST_ALT_TEXT} characters that X takes."
        return super().objection(post)

    def price(self, post: OutgoingPost) -> int:
        texts = sum(bool(image.alt_text) for image in post.images)
        return (POST_WITH_LINK if counting.x_links(post.text) else POST) + ALT_TEXT * texts

    def read_price(self, remote_ids: Sequence[str]) -> int:
        return READ_POST * len(remote_ids)

    @cached_property
    def _secrets(self) -> dict[str, Any]:
        known = fresh_secrets(self.connection, partial(renew, self.connection.settings))
        if not known.get("access_token"):
            raise FaceError(
                "Nobody has allowed the connection on X's page yet: connect again.", permanent=True, credentials=True
            )
        return known

    @cached_property
    def _client(self) -> Any:
        return client(self._secrets["access_token"])

    @cached_property
    def _user_id(self) -> str:
        known = self.connection.settings.get("user_id")
        return str(known or _one(self._client.get_me(user_auth=False), "account")["id"])

    @cached_property
    def _known(self) -> Known:
        return Known(self._user_id)

    def _id_of(self, account: str) -> str:
        return str(_one(self._client.get_user(username=account.strip().lstrip("@")), "account")["id"])

    def _upload(self, image: OutgoingImage) -> str:
        """X's id of an image, with its alternative text."""
        category = "tweet_gif" if image.media_type == "image/gif" else "tweet_image"
        body = {"media": base64.b64encode(image.content).decode(), "media_category": category}
        try:
            media = _one(self._client.request("POST", "/2/media/upload", json=body).json(), "image")
            self._await_processing(media)
            if image.alt_text:
                metadata = {"id": str(media["id"]), "metadata": {"alt_text": {"text": image.alt_text}}}
                if "errors" in (told := self._client.request("POST", "/2/media/metadata", json=metadata).json()):
                    _one(told, "image")
        except FaceError as error:  # an image that nobody sees: the post itself was not sent
            raise FaceError(
                f"An image could not be uploaded: {error}",
                permanent=error.permanent,
                retry_after=error.retry_after,
                credentials=error.credentials,
                status=error.status,
            ) from error
        return str(media["id"])

    def _await_processing(self, media: Json) -> None:
        """X looks at still images at once, at moving ones in its own time."""
        deadline = time.monotonic() + PREPARING_SECONDS
        while (state := (media.get("processing_info") or {}).get("state", "succeeded")) != "succeeded":
            if state == "failed":
                raise FaceError("X could not read it.", permanent=True)
            pause = float(media["processing_info"].get("check_after_secs") or 1)
            if time.monotonic() + pause > deadline:
                raise FaceError("X is still processing it.", permanent=False)
            time.sleep(pause)
            asked = {"media_id": str(media["id"]), "command": "STATUS"}
            media = _one(self._client.request("GET", "/2/media/upload", params=asked).json(), "image")

    def _readings(self, ids: list[str]) -> dict[str, Reading | None]:
        answer = self._client.get_tweets(
            ids, tweet_fields=["author_id", "public_metrics"], expansions=["author_id"], user_fields=["public_metrics"]
        )
        users = (answer.get("includes") or {}).get("users") or ()
        followers = {user["id"]: (user.get("public_metrics") or {}).get("followers_count") for user in users}
        posts = {str(post["id"]): post for post in answer.get("data") or ()}
        gone = {str(_subject(problem)) for problem in answer.get("errors") or () if is_missing(problem)}
        return {
            remote_id: None
            if remote_id in gone and remote_id not in posts
            else Reading(counts(posts.get(remote_id, {})), followers.get(posts.get(remote_id, {}).get("author_id")))
            for remote_id in ids
        }

    def _fetch(self, remote_id: str) -> Json | None:
        """One post; None when it is gone; the problem, which has no id, when X does not show it."""
        try:
            answer = self._client.get_tweet(remote_id, **READ)
        except FaceError as error:
            if error.status == 404:
                return None
            raise
        self._known.learn(answer)
        problems = answer.get("errors") or [{}]
        post: Json | None = answer.get("data") or (None if is_missing(problems[0]) else problems[0])
        return post

    def _timeline(self, user_id: str, since: datetime | None, **how: Any) -> Iterator[Json]:
        return self._pages(self._client.get_users_tweets, user_id, since, exclude=["retweets"], **how)

    def _written(self, user_id: str, since: datetime | None) -> Iterator[Json]:
        """A timeline's posts, oldest first. X lists the newest first, so one span of time is read after the other, each
        of a page at most: whoever is stopped has all that is older, and has paid for little else.
        """
        start, span, now = (since or FIRST_DAY).replace(microsecond=0), FIRST_SPAN, clock.now()
        while True:
            stop = start + span
            is_last = stop >= now  # it has no end
            listed = self._timeline(user_id, start, **({} if is_last else {"end_time": stop}))
            within = (post for post in listed if is_last or _written_at(post) < stop)
            found = list(islice(within, PAGE))
            if len(found) == PAGE and span > SHORTEST_SPAN:  # there may be more: read only as long as a page lasts
                lasted = min(stop, now) - _written_at(found[-1])
                span = max(SHORTEST_SPAN, min(span / 4, lasted) // SECOND * SECOND)
                continue
            found += within
            yield from reversed(found)
            if is_last:
                return
            start, span = stop, span if len(found) > PAGE // 4 else min(2 * span, LONGEST_SPAN)

    def _pages(self, call: Callable[..., Any], user_id: str, since: datetime | None, **how: Any) -> Iterator[Json]:
        """What a timeline holds since then, newest first."""
        token, since = None, since and since.replace(microsecond=0)  # X knows seconds
        for _ in range(MOST_PAGES):
            answer = call(user_id, max_results=PAGE, start_time=since, pagination_token=token, **READ, **how)
            self._known.learn(answer)
            for post in answer.get("data") or ():
                if since is None or _written_at(post) >= since:
                    yield post
            token = (answer.get("meta") or {}).get("next_token")
            if not token:
                return


def _one(answer: Json, what: str) -> Json:
    """What an answer is about. Raises FaceError with X's words when it is about nothing."""
    found = answer.get("data")
    if isinstance(found, dict) and found.get("id"):
        return found
    problems = answer.get("errors") or [{}]
    told = problems[0].get("detail") or "its answer names none."
    raise FaceError(f"X shows no such {what}: {told}", permanent=bool(answer.get("errors")))


def _written_at(post: Json) -> datetime:
    return datetime.fromisoformat(post["created_at"])


def _subject(problem: Json) -> Any:
    return problem.get("resource_id") or problem.get("value")


def _hidden(remote_id: str, problem: Json) -> RemotePost:
    """A post that X does not show, and that nobody can answer therefore."""
    told = str(problem.get("detail") or "X does not show it.")
    return RemotePost(remote_id, "", posted_at(remote_id), closed=told)
