"""A network of one PDS and its AppView on loopback, as Bluesky's own PDS was seen to answer (tests/servers).

`FakeBluesky().answer` goes to `tests.faces.loopback.serve`; several threads may ask at once.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import regex

from tests.faces.loopback import Reply, Request

LOGINS, LOGIN_WINDOW = 30, 300.0
POST = "app.bsky.feed.post"
TID = re.compile(r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}")


@dataclass
class Account:
    handle: str
    did: str
    password: str = "right"
    status: str = ""
    logins: deque[float] = field(default_factory=deque)
    records: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """(collection, rkey) → uri, cid, value, indexedAt."""


class Refused(Exception):
    def __init__(self, status: int, name: str, message: str = "", **headers: str) -> None:
        self.reply = Reply(status, {"error": name, "message": message or name}, dict(headers))


class FakeBluesky:
    """`refuse`: method → the answer it gets instead. `counts`: uri → likes, reposts, replies and quotes as the AppView
    shows them. `has_appview`: whether there is one. `now`: its clock, a Unix time.
    """

    def __init__(self, *handles: str) -> None:
        self.accounts = {handle: Account(handle, did_of(handle)) for handle in handles or ("kilroy.test",)}
        self.refuse: dict[str, Reply] = {}
        self.counts: dict[str, dict[str, int]] = {}
        self.hidden: set[str] = set()
        self.notifications: list[dict[str, Any]] = []
        self.blobs: dict[str, tuple[bytes, str]] = {}
        self.has_appview = True
        self.now = time.time
        self.commits = 0
        self._tokens: dict[str, tuple[str, str]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Reply:
        method = request.path.removeprefix("/xrpc/")
        if method in self.refuse:
            return self.refuse[method]
        try:
            with self._lock:
                return Reply(data=self._answer(method, request))
        except Refused as refused:
            return refused.reply

    def expire(self, kind: str) -> None:
        """Every access or refresh token runs out now."""
        with self._lock:
            self._tokens = {token: held for token, held in self._tokens.items() if held[1] != kind}

    def posts(self, handle: str = "kilroy.test") -> list[dict[str, Any]]:
        """The posts that stand on an account."""
        records = self.accounts[handle].records
        return [record["value"] for (collection, _), record in records.items() if collection == POST]

    def _answer(self, method: str, request: Request) -> dict[str, Any]:
        match method:
            case "com.atproto.server.createSession":
                return self._log_in(request.json)
            case "com.atproto.server.refreshSession":
                account = self._account_of(request, "refresh")
                del self._tokens[request.headers["authorization"].removeprefix("Bearer ")]
                return self._open(account)
        me = self._account_of(request, "access")
        query = {name: values[0] for name, values in request.query.items()}
        name = method.rpartition(".")[2]
        if method.startswith("app.bsky."):
            if not self.has_appview:
                raise Refused(400, "InvalidRequest", f"No service configured for {method}")
            return dict(getattr(self, f"_{name}")(me, query, request))
        body = request.json if name.endswith("Record") and request.body else query
        return dict(getattr(self, f"_{name}")(me, body, request))

    def _log_in(self, body: dict[str, str]) -> dict[str, Any]:
        account = self.accounts.get(body["identifier"])
        if account is not None:
            while account.logins and account.logins[0] <= self.now() - LOGIN_WINDOW:
                account.logins.popleft()
            if len(account.logins) >= LOGINS:
                reset = str(int(account.logins[0] + LOGIN_WINDOW))
                raise Refused(429, "RateLimitExceeded", "Rate Limit Exceeded", **{"RateLimit-Reset": reset})
            account.logins.append(self.now())
        if account is None or body["password"] != account.password:
            raise Refused(401, "AuthenticationRequired", "Invalid identifier or password")
        if account.status == "takendown":
            raise Refused(401, "AccountTakedown", "Account has been taken down")
        return self._open(account)

    def _open(self, account: Account) -> dict[str, Any]:
        number = next(self._numbers)
        tokens = {kind: f"{kind}-{number}" for kind in ("access", "refresh")}
        self._tokens |= {token: (account.handle, kind) for kind, token in tokens.items()}
        return self._getSession(account) | {"accessJwt": tokens["access"], "refreshJwt": tokens["refresh"]}

    def _account_of(self, request: Request, kind: str) -> Account:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not token:
            raise Refused(401, "AuthMissing", "Authentication Required")
        if (held := self._tokens.get(token)) is None:
            raise Refused(400, "ExpiredToken", "Token has expired")
        if held[1] != kind:
            raise Refused(400, "InvalidToken", "Bad token scope")
        account = self.accounts[held[0]]
        if account.status == "takendown":
            raise Refused(401, "AccountTakedown", "Account has been taken down")
        return account

    def _by_name(self, name: str) -> Account | None:
        return next((known for known in self.accounts.values() if name in (known.handle, known.did)), None)

    # com.atproto.*: the methods are named as XRPC names them.

    def _getSession(self, me: Account, *_: Any) -> dict[str, Any]:  # noqa: N802
        active = {"active": not me.status} | ({"status": me.status} if me.status else {})
        return {"did": me.did, "handle": me.handle, **active}

    def _resolveHandle(self, me: Account, query: dict[str, str], *_: Any) -> dict[str, Any]:  # noqa: N802
        if (account := self._by_name(query["handle"])) is None:
            raise Refused(400, "InvalidRequest", "Unable to resolve handle")
        return {"did": account.did}

    def _uploadBlob(self, me: Account, query: Any, request: Request) -> dict[str, Any]:  # noqa: N802
        cid = cid_of(request.body.hex())
        self.blobs[cid] = (request.body, request.headers["content-type"])
        link = {"$type": "blob", "ref": {"$link": cid}, "mimeType": request.headers["content-type"]}
        return {"blob": link | {"size": len(request.body)}}

    def _putRecord(self, me: Account, body: dict[str, Any], *_: Any) -> dict[str, Any]:  # noqa: N802
        self._check_write(me, body)
        uri = f"at://{me.did}/{body['collection']}/{body['rkey']}"
        current, cid = me.records.get((body["collection"], body["rkey"])), cid_of(body["record"])
        if current and current["cid"] == cid:  # the same bytes: nothing happens
            return {"uri": uri, "cid": cid}
        if "swapRecord" in body and body["swapRecord"] != (current["cid"] if current else None):
            raise Refused(400, "InvalidSwap", f"Record was at {current['cid'] if current else None}")
        self._store(me, body["collection"], body["rkey"], body["record"])
        return {"uri": uri, "cid": cid, "commit": {"cid": cid_of(self.commits), "rev": str(self.commits)}}

    def _createRecord(self, me: Account, body: dict[str, Any], *_: Any) -> dict[str, Any]:  # noqa: N802
        self._check_write(me, body)
        if (body["collection"], body["rkey"]) in me.records:
            raise Refused(500, "InternalServerError", "Internal Server Error")
        return self._store(me, body["collection"], body["rkey"], body["record"])

    def _deleteRecord(self, me: Account, body: dict[str, Any], *_: Any) -> dict[str, Any]:  # noqa: N802
        if body["repo"] != me.did:
            raise Refused(401, "AuthMissing", "Authentication Required")
        me.records.pop((body["collection"], body["rkey"]), None)
        return {}

    def _getRecord(self, me: Account, query: dict[str, str], *_: Any) -> dict[str, Any]:  # noqa: N802
        account = self._by_name(query["repo"])
        record = account and account.records.get((query["collection"], query["rkey"]))
        if not record:
            raise Refused(400, "RecordNotFound", "Could not locate record")
        return {name: record[name] for name in ("uri", "cid", "value")}

    def _listRecords(self, me: Account, query: dict[str, str], *_: Any) -> dict[str, Any]:  # noqa: N802
        if (account := self._by_name(query["repo"])) is None:
            raise Refused(400, "InvalidRequest", f"Could not find repo: {query['repo']}")
        kept = {rkey: record for (kind, rkey), record in account.records.items() if kind == query["collection"]}
        before = query.get("cursor", "~")
        page = sorted((rkey for rkey in kept if rkey < before), reverse=True)[: int(query["limit"])]
        return {"records": [kept[rkey] for rkey in page]} | ({"cursor": page[-1]} if page else {})

    def _check_write(self, me: Account, body: dict[str, Any]) -> None:
        if body["repo"] != me.did:
            raise Refused(401, "AuthMissing", "Authentication Required")
        if me.status:
            raise Refused(401, "AccountDeactivated", "Account is deactivated")
        if body["collection"] != POST:
            return
        if not TID.fullmatch(body["rkey"]):
            raise Refused(400, "InvalidRequest", "Invalid record key")
        text = body["record"]["text"]
        for said, length, most in (
            ("grapheme", len(regex.findall(r"\X", text)), 300),
            ("string", len(text.encode()), 3000),
        ):
            if length > most:
                raise Refused(400, "InvalidRequest", f"{said} too big (maximum {most}, got {length}) at $.record.text")
        datetime.fromisoformat(body["record"]["createdAt"])

    def _store(self, me: Account, collection: str, rkey: str, value: dict[str, Any]) -> dict[str, Any]:
        self.commits += 1
        uri, indexed = f"at://{me.did}/{collection}/{rkey}", datetime.fromtimestamp(self.now(), UTC).isoformat()
        me.records[collection, rkey] = {"uri": uri, "cid": cid_of(value), "value": value, "indexedAt": indexed}
        return {"uri": uri, "cid": cid_of(value)}

    # app.bsky.*: what the AppView shows.

    def view(self, uri: str) -> dict[str, Any] | None:
        did, collection, rkey = uri.removeprefix("at://").split("/")
        account = self._by_name(did)
        record = account and account.records.get((collection, rkey))
        if not account or not record or uri in self.hidden:
            return None
        counted = {"likeCount": 0, "repostCount": 0, "replyCount": 0, "quoteCount": 0} | self.counts.get(uri, {})
        profile = account.records.get(("app.bsky.actor.profile", "self"), {"value": {}})["value"]
        author = {"did": did, "handle": account.handle, "labels": profile.get("labels", {}).get("values", [])}
        shown = {"uri": uri, "cid": record["cid"], "record": record["value"], "indexedAt": record["indexedAt"]}
        return shown | {"author": author, "viewer": {}} | counted

    def _getPosts(self, me: Account, query: Any, request: Request) -> dict[str, Any]:  # noqa: N802
        if len(request.query["uris"]) > 25:
            raise Refused(400, "InvalidRequest", "array too big (maximum 25)")
        return {"posts": [view for uri in request.query["uris"] if (view := self.view(uri))]}

    def _getProfile(self, me: Account, query: dict[str, str], *_: Any) -> dict[str, Any]:  # noqa: N802
        return {"did": me.did, "handle": me.handle, "followersCount": 250}

    def _getAuthorFeed(self, me: Account, query: dict[str, str], *_: Any) -> dict[str, Any]:  # noqa: N802
        account = self._by_name(query["actor"])
        if account is None:
            raise Refused(400, "InvalidRequest", "Profile not found")
        views = [self.view(record["uri"]) for (kind, _), record in account.records.items() if kind == POST]
        return self._page("feed", [{"post": view} for view in newest_first(views)], query)

    def _searchPosts(self, me: Account, query: dict[str, str], *_: Any) -> dict[str, Any]:  # noqa: N802
        records = [record for account in self.accounts.values() for record in account.records.values()]
        found = [self.view(record["uri"]) for record in records if query["q"] in record["value"].get("text", "")]
        return self._page("posts", newest_first(found), query)

    def _listNotifications(self, me: Account, query: dict[str, str], request: Request) -> dict[str, Any]:  # noqa: N802
        page = self._page("notifications", self.notifications, query)  # pages first, then leaves out: some are empty
        reasons = request.query.get("reasons", [])
        return page | {"notifications": [told for told in page["notifications"] if told["reason"] in reasons]}

    def _getPostThread(self, me: Account, query: dict[str, str], *_: Any) -> dict[str, Any]:  # noqa: N802
        if (view := self.view(query["uri"])) is None:
            raise Refused(400, "NotFound", f"Post not found: {query['uri']}")
        thread: dict[str, Any] = {"$type": "app.bsky.feed.defs#threadViewPost", "post": view}
        below = thread
        while reply := view["record"].get("reply"):
            view = self.view(reply["parent"]["uri"])
            if view is None:
                below["parent"] = {"$type": "app.bsky.feed.defs#notFoundPost", "notFound": True}
                break
            below["parent"] = {"$type": "app.bsky.feed.defs#threadViewPost", "post": view}
            below = below["parent"]
        return {"thread": thread}

    def _page(self, name: str, entries: list[Any], query: dict[str, str], size: int = 2) -> dict[str, Any]:
        start = int(query.get("cursor", "0"))
        more = {"cursor": str(start + size)} if start + size < len(entries) else {}
        return {name: entries[start : start + size]} | more


def did_of(handle: str) -> str:
    return f"did:plc:{hashlib.sha256(handle.encode()).hexdigest()[:24]}"


def cid_of(value: Any) -> str:
    return "bafy" + hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def newest_first(views: list[dict[str, Any] | None]) -> list[dict[str, Any]]:
    return sorted((view for view in views if view), key=lambda view: view["record"]["createdAt"], reverse=True)
