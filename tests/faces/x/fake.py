"""A stand-in for X's interface v2, written from its published OpenAPI document (2.167) and its pages on errors, rate
limits, media, OAuth 2.0 and counting characters. It holds accounts and posts, and counts every request.

    x = FakeX()
    token = x.add_account("kilroy")
    loopback.answer = x.answer

`x.refuse[method, path] = Reply(…)` answers a request that way instead, until it is taken out; `x.before` and `x.after`
are asked around every request: a Reply from `before` comes instead of doing it, one from `after` although it was done.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from tests.faces.loopback import Reply, Request
from tests.faces.x.rules import (
    COUNTS,
    EPOCH,
    LIMIT,
    LISTS,
    PAGING,
    SCOPES,
    TWEET_FIELDS,
    WINDOW,
    Refused,
    invalid,
    missing,
    problem,
    shorten,
    weighted,
)


@dataclass
class FakeX:
    """`posts` by id, in order of publication; `accounts` by token. `page`: posts that one answer holds at most."""

    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    posts: dict[str, dict[str, Any]] = field(default_factory=dict)
    media: dict[str, dict[str, Any]] = field(default_factory=dict)
    codes: dict[str, dict[str, Any]] = field(default_factory=dict)
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    app: tuple[str, str] = ("app", "")
    withheld: dict[str, dict[str, Any]] = field(default_factory=dict)
    refuse: dict[tuple[str, str], Reply] = field(default_factory=dict)
    before: Callable[[Request], Reply | None] = lambda request: None
    after: Callable[[Request], Reply | None] = lambda request: None
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    page: int = 100
    limit: int = LIMIT
    now: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._made = 0
        self._windows: dict[str, tuple[float, int]] = {}

    # what a test arranges

    def add_account(self, name: str, scope: str = SCOPES, followers: int = 250) -> str:
        """A new account; returns the token that acts for it."""
        token = f"token-of-{name}"
        self.accounts[token] = {"id": str(len(self.accounts) + 11), "username": name, "name": name.title()} | {
            "scope": scope,
            "public_metrics": {"followers_count": followers, "following_count": 1, "tweet_count": 5, "listed_count": 0},
        }
        return token

    def add_post(self, author: str, text: str, at: datetime | None = None, **more: Any) -> dict[str, Any]:
        """A post of that user name; `reply_to`, `quotes` or `repeats` name another post's id."""
        user = next(user for user in self.accounts.values() if user["username"] == author)
        return self._store(user, text, at, **more)

    def texts(self, author: str) -> list[str]:
        """What that account has posted, oldest first, as it was sent."""
        return [post["sent"] for post in self.posts.values() if post["username"] == author]

    # what X does

    def answer(self, request: Request) -> Reply:
        with self._lock:
            self.requests[request.method, re.sub(r"\d{5,}", "{id}", request.path)] += 1
            told = self.before(request) or self.refuse.get((request.method, request.path))
            if told is not None:
                return told
            try:
                reply = self._token(request) if request.path == "/2/oauth2/token" else self._route(request)
            except Refused as refused:
                reply = refused.reply
            return self.after(request) or reply

    def _route(self, request: Request) -> Reply:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        me = self.accounts.get(token)
        if me is None:
            raise problem(401, "Unauthorized", "Unauthorized")
        if me.get("suspended"):
            raise problem(403, "Forbidden", "Your account is suspended and is not permitted to access this feature.")
        match request.method, request.path.strip("/").split("/")[1:]:
            case "GET", ["users", "me"]:
                self._check(request, set())
                return Reply(data={"data": self._user(me, request)})
            case "GET", ["users", "by", "username", name]:
                return Reply(data=self._named(name, request))
            case "GET", ["users", user_id, "tweets"]:
                return Reply(data=self._timeline(request, [p for p in self._of(user_id) if self._wanted(p, request)]))
            case "GET", ["users", user_id, "mentions"]:
                named = [p for p in self.posts.values() if any(m["id"] == user_id for m in p["mentions"])]
                return Reply(data=self._timeline(request, named))
            case "GET", ["tweets"]:
                return Reply(data=self._several(request))
            case "GET", ["tweets", remote_id]:
                return Reply(data=self._single(remote_id, request))
            case "POST", ["tweets"]:
                return self._create(me, request)
            case "DELETE", ["tweets", remote_id]:
                return self._delete(me, remote_id)
            case "POST", ["media", "upload"]:
                return self._upload(me, request)
            case "POST", ["media", "metadata"]:
                return self._describe(request)
            case "GET", ["media", "upload"]:
                return Reply(
                    data={"data": {"id": request.query["media_id"][0], "processing_info": {"state": "succeeded"}}}
                )
        raise problem(404, "Not Found", "Not Found")

    def _check(self, request: Request, others: set[str]) -> None:
        for name, values in request.query.items():
            allowed = LISTS.get(name)
            if allowed is None and name not in others:
                raise invalid(f"The query parameter [{name}] is not one of [...]")
            if allowed is not None and (wrong := set(",".join(values).split(",")) - allowed):
                raise invalid(f"The `{name}` query parameter value [{wrong.pop()}] is not one of [...]")

    def _create(self, me: dict[str, Any], request: Request) -> Reply:
        if "tweet.write" not in me["scope"]:
            raise problem(403, "Forbidden", "You are not permitted to perform this action.")
        body = request.json
        if wrong := set(body) - {"text", "reply", "media", "quote_tweet_id", "made_with_ai", "reply_settings"}:
            raise invalid(f"$.{wrong.pop()}: is not defined in the schema")
        text, media = body.get("text", ""), body.get("media", {}).get("media_ids", [])
        if not text and not media:
            raise invalid("$.text: is missing but it is required")
        if not isinstance(media, list) or len(media) > 4 or any(one not in self.media for one in media):
            raise invalid("Your media IDs are invalid.")
        headers = self._count(me["id"])
        if re.search("[\ufffe\ufeff\uffff]", text):
            raise invalid("$.text: contains an invalid character")
        if weighted(text) > 280:
            raise problem(403, "Forbidden", "Your Tweet text is too long.")
        if any(post["sent"] == text for post in self._of(me["id"])) and not media:
            raise problem(403, "Forbidden", "You are not allowed to create a Tweet with duplicate content.")
        reply_to = body.get("reply", {}).get("in_reply_to_tweet_id", "")
        if reply_to and reply_to not in self.posts:
            detail = "You attempted to reply to a Tweet that is deleted or not visible to you."
            raise problem(403, "Forbidden", detail)
        post = self._store(me, text, None, reply_to=reply_to, media=media)
        return Reply(
            201, {"data": {"id": post["id"], "text": post["text"], "edit_history_tweet_ids": [post["id"]]}}, headers
        )

    def _count(self, user_id: str) -> dict[str, str]:
        start, made = self._windows.get(user_id, (0.0, 0))
        if self.now() - start >= WINDOW:
            start, made = self.now(), 0
        self._windows[user_id] = (start, made + 1)
        headers = {
            "x-rate-limit-limit": str(self.limit),
            "x-rate-limit-remaining": str(max(0, self.limit - made - 1)),
            "x-rate-limit-reset": str(int(start + WINDOW)),
        }
        if made >= self.limit:
            told = {"title": "Too Many Requests", "detail": "Too Many Requests", "type": "about:blank", "status": 429}
            raise Refused(Reply(429, told, headers))
        return headers

    def _store(
        self,
        user: dict[str, Any],
        text: str,
        at: datetime | None = None,
        *,
        reply_to: str = "",
        quotes: str = "",
        repeats: str = "",
        media: list[str] | None = None,
        **counts: Any,
    ) -> dict[str, Any]:
        at = at or datetime.fromtimestamp(self.now(), UTC)
        self._made += 1
        remote_id = str((int(at.timestamp() * 1000 - EPOCH) << 22) + self._made)
        parent = self.posts.get(reply_to)
        shown = text if parent is None or parent["author_id"] == user["id"] else f"@{parent['username']} {text}"
        stored, urls = shorten(shown, media or [], remote_id)
        kinds = {"replied_to": reply_to, "quoted": quotes, "retweeted": repeats}
        self.posts[remote_id] = {
            "id": remote_id,
            "text": html.escape(stored, quote=False),
            "sent": text,
            "author_id": user["id"],
            "username": user["username"],
            "created_at": (at - timedelta(microseconds=at.microsecond)).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "conversation_id": parent["conversation_id"] if parent else remote_id,
            "referenced_tweets": [{"type": kind, "id": other} for kind, other in kinds.items() if other],
            "in_reply_to_user_id": parent["author_id"] if parent else None,
            "lang": "en",
            "entities": {"urls": urls, "mentions": (mentions := self._mentions(shown))},
            "mentions": mentions,
            "public_metrics": dict.fromkeys(COUNTS, 0) | counts,
        }
        return self.posts[remote_id]

    def _mentions(self, text: str) -> list[dict[str, Any]]:
        users = {user["username"]: user for user in self.accounts.values()}
        found = [match for match in re.finditer(r"@(\w+)", text) if match[1] in users]
        return [{"start": m.start(), "end": m.end(), "username": m[1], "id": users[m[1]]["id"]} for m in found]

    def _delete(self, me: dict[str, Any], remote_id: str) -> Reply:
        post = self.posts.get(remote_id)
        if post is None:
            return Reply(404, missing(remote_id) | {"status": 404})
        if post["author_id"] != me["id"]:
            raise problem(403, "Forbidden", "You are not authorized to delete this Tweet.")
        del self.posts[remote_id]
        return Reply(data={"data": {"deleted": True}})

    def _upload(self, me: dict[str, Any], request: Request) -> Reply:
        if "media.write" not in me["scope"]:
            raise problem(403, "Forbidden", "You are not permitted to perform this action.")
        body = request.json
        if set(body) - {"media", "media_category", "additional_owners"} or "media_category" not in body:
            raise invalid("media_category: is missing but it is required")
        media_id = str(7_000_000_000 + len(self.media))
        self.media[media_id] = {"bytes": base64.b64decode(body["media"]), "category": body["media_category"]}
        data: dict[str, Any] = {"id": media_id, "media_key": f"3_{media_id}", "expires_after_secs": 86_400}
        if body["media_category"] == "tweet_gif":
            data["processing_info"] = {"state": "pending", "check_after_secs": 1}
        return Reply(data={"data": data})

    def _describe(self, request: Request) -> Reply:
        body = request.json
        text = body["metadata"]["alt_text"]["text"]
        if body["id"] not in self.media or len(text) > 1000:
            raise invalid("$.metadata.alt_text.text: must be at most 1000 characters long")
        self.media[body["id"]]["alt_text"] = text
        return Reply(data={"data": {"id": body["id"], "associated_metadata": body["metadata"]}})

    def _of(self, user_id: str) -> list[dict[str, Any]]:
        return [post for post in self.posts.values() if post["author_id"] == user_id]

    def _wanted(self, post: dict[str, Any], request: Request) -> bool:
        repeats = any(other["type"] == "retweeted" for other in post["referenced_tweets"])
        return not (repeats and "retweets" in request.query.get("exclude", [""])[0])

    def _timeline(self, request: Request, posts: list[dict[str, Any]]) -> dict[str, Any]:
        self._check(request, PAGING)
        if not 5 <= int(request.query.get("max_results", ["10"])[0]) <= 100:
            raise invalid("The `max_results` query parameter value is not between 5 and 100")
        start = request.query.get("start_time", ["2010-11-06T00:00:00Z"])[0]
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", start):
            raise invalid("The `start_time` query parameter value is not a valid RFC3339 time")
        end = request.query.get("end_time", ["9999-12-31T00:00:00Z"])[0]
        span = [moment.replace("Z", ".000Z") for moment in (start, end)]
        newest = sorted((p for p in posts if span[0] <= p["created_at"] <= span[1]), key=lambda p: -int(p["id"]))
        offset = int(request.query.get("pagination_token", ["0"])[0])
        size = min(self.page, int(request.query.get("max_results", ["10"])[0]))
        found = newest[offset : offset + size]
        meta: dict[str, Any] = {"result_count": len(found)}
        if offset + size < len(newest):
            meta["next_token"] = str(offset + size)
        return (
            ({"data": [self._shown(p, request) for p in found]} if found else {})
            | self._includes(found, request)
            | {"meta": meta}
        )

    def _several(self, request: Request) -> dict[str, Any]:
        self._check(request, {"ids"})
        ids = request.query["ids"][0].split(",")
        if len(ids) > 100:
            raise invalid("The number of values in the `ids` query parameter list [...] is not between 1 and 100")
        found = [self.posts[one] for one in ids if one in self.posts and one not in self.withheld]
        errors = [
            self.withheld.get(one) or missing(one) for one in ids if one in self.withheld or one not in self.posts
        ]
        answer = {"data": [self._shown(post, request) for post in found]} if found else {}
        return answer | ({"errors": errors} if errors else {}) | self._includes(found, request)

    def _single(self, remote_id: str, request: Request) -> dict[str, Any]:
        self._check(request, set())
        if remote_id in self.withheld or remote_id not in self.posts:
            return {"errors": [self.withheld.get(remote_id) or missing(remote_id)]}
        post = self.posts[remote_id]
        return {"data": self._shown(post, request)} | self._includes([post], request)

    def _shown(self, post: dict[str, Any], request: Request) -> dict[str, Any]:
        asked = {"id", "text", *request.query.get("tweet.fields", [""])[0].split(",")}
        shown = {
            name: value for name, value in post.items() if name in asked & TWEET_FIELDS and value not in (None, [])
        }
        return shown | {"edit_history_tweet_ids": [post["id"]]}

    def _includes(self, posts: list[dict[str, Any]], request: Request) -> dict[str, Any]:
        asked = request.query.get("expansions", [""])[0].split(",")
        others = [self.posts.get(ref["id"]) for post in posts for ref in post["referenced_tweets"]]
        above = {post["id"]: post for post in others if post and "referenced_tweets.id" in asked}
        authors = {post["author_id"] for post in posts} if "author_id" in asked else set()
        if "referenced_tweets.id.author_id" in asked:
            authors |= {post["author_id"] for post in above.values()}
        users = [self._user(user, request) for user in self.accounts.values() if user["id"] in authors]
        included = {"users": users, "tweets": [self._shown(post, request) for post in above.values()]}
        included = {name: found for name, found in included.items() if found}
        return {"includes": included} if included else {}

    def _user(self, user: dict[str, Any], request: Request) -> dict[str, Any]:
        asked = {"id", "name", "username", *request.query.get("user.fields", [""])[0].split(",")}
        return {name: value for name, value in user.items() if name in asked}

    def _named(self, name: str, request: Request) -> dict[str, Any]:
        user = next((user for user in self.accounts.values() if user["username"] == name), None)
        if user is None:
            told = f"Could not find user with username: [{name}]."
            return {"errors": [missing(name) | {"resource_type": "user", "detail": told}]}
        return {"data": self._user(user, request)}

    # OAuth 2.0

    def allow(self, token: str, challenge: str, callback: str, code: str = "the-code") -> str:
        """The account's owner allows the app on X's page; returns the code."""
        self.codes[code] = {"token": token, "challenge": challenge, "callback": callback}
        return code

    def _token(self, request: Request) -> Reply:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        client_id, secret = self.app
        basic = "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        if form.get("client_id") != client_id or (secret and request.headers.get("authorization") != basic):
            return Reply(
                401, {"error": "unauthorized_client", "error_description": "Missing valid authorization header"}
            )
        if form["grant_type"] == "authorization_code":
            known = self.codes.pop(form["code"], None)
            digest = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
            right = {"challenge": digest.rstrip(b"=").decode(), "callback": form["redirect_uri"]}
            token = known["token"] if known and right.items() <= known.items() else None
        else:
            token = self.refresh_tokens.pop(form["refresh_token"], None)  # each is good for once
        if token is None:
            told = "Value passed for the token was invalid."
            return Reply(400, {"error": "invalid_request", "error_description": told})
        user = self.accounts.pop(token)
        fresh = f"{token.partition('#')[0]}#{time.monotonic_ns()}"
        self.accounts[fresh] = user
        answer = {"token_type": "bearer", "expires_in": 7200, "access_token": fresh, "scope": user["scope"]}
        if "offline.access" in user["scope"]:
            answer["refresh_token"] = f"refresh-{time.monotonic_ns()}"
            self.refresh_tokens[answer["refresh_token"]] = fresh
        return Reply(data=answer)
