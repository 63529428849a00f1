"""A Reddit of our own, for what nobody recorded. Written from its interface's documentation (reddit.com/dev/api) and
from r2, its source as it was last published; stateful, and able to fail in every way that matters.
"""

from __future__ import annotations

import base64
import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.faces.loopback import Reply, Request

ME = "kilroy_writes"
SCOPES = "identity submit read history edit privatemessages"


@dataclass
class Fault:
    """What goes wrong with one request: `reply` in place of the answer, or the answer after `hang` seconds; `acted`:
    Reddit has done what was asked nevertheless.
    """

    reply: Reply | None = None
    acted: bool = False
    hang: float = 0.0


def error(name: str, words: str = "", where: str = "", **more: Any) -> Reply:
    """A refusal as Reddit writes it beside a 200."""
    return Reply(data={"json": {"errors": [[name, words, where]], **more}})


@dataclass
class FakeReddit:
    """`clock` gives its time in Unix seconds; `lag`: seconds until a list shows what is new."""

    clock: Any = time.time
    lag: float = 0.0
    flair_required: bool = False
    token: str = "live"
    refresh_token: str = "kept"
    app: tuple[str, str] = ("app", "app-secret")
    scope: str = SCOPES
    token_reply: Reply | None = None
    me: dict[str, Any] = field(default_factory=lambda: {"name": ME, "is_suspended": False})
    about: dict[str, Any] = field(default_factory=lambda: {"subreddit_type": "public", "submission_type": "any"})
    requirements: dict[str, Any] = field(default_factory=dict)
    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    inbox: list[str] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    limit_headers: dict[str, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, **data: Any) -> dict[str, Any]:
        """A post (t3) or a comment (t1) that is there; returns its data."""
        number = f"{next(self.numbers):x}"
        name = f"{kind}_{number}"
        defaults: dict[str, Any] = {"author": ME, "score": 1, "subreddit": "kilroytest", "locked": False}
        if kind == "t3":
            defaults |= {"title": "A title", "selftext": "", "num_comments": 0, "upvote_ratio": 1.0}
            defaults |= {"permalink": f"/r/kilroytest/comments/{number}/a_title/", "removed_by_category": None}
        else:
            defaults |= {"body": "A comment", "permalink": f"/r/kilroytest/comments/1/_/{number}/"}
        made = defaults | {"name": name, "id": number, "created_utc": float(int(self.clock()))} | data
        self.things[name] = {"kind": kind, "data": made}
        return made

    def posts(self) -> list[dict[str, Any]]:
        """What the account has left on Reddit."""
        own = (thing["data"] for thing in self.things.values() if thing["data"]["author"] == ME)
        return [data for data in own if data.get("selftext", data.get("body")) != "[deleted]"]

    def answer(self, request: Request) -> Reply:
        path = request.path.strip("/")
        if path == "api/v1/access_token":
            return self.token_reply or self._token(request)
        if request.headers.get("authorization") != f"bearer {self.token}":
            return Reply(
                401,
                {"message": "Unauthorized", "error": 401},
                {"www-authenticate": 'Bearer realm="reddit", error="invalid_token"'},
            )
        with self.lock:
            fault = self.faults[path].pop(0) if self.faults[path] else None
            acts = fault is None or fault.acted or fault.reply is None
            reply = self._answer(path, request) if acts else Reply()
        if fault is not None:
            time.sleep(fault.hang)
            reply = fault.reply or reply
        reply.headers = {**self.limit_headers, **reply.headers}
        return reply

    def _token(self, request: Request) -> Reply:
        given = base64.b64encode(":".join(self.app).encode()).decode()
        if request.headers.get("authorization") != f"Basic {given}":
            return Reply(401, {"message": "Unauthorized", "error": 401})
        form = {name: values[0] for name, values in request.form.items()}
        if form.get("grant_type") == "authorization_code" and form.get("code") != "the-code":
            return Reply(data={"error": "invalid_grant"})
        if form.get("grant_type") == "refresh_token" and form.get("refresh_token") != self.refresh_token:
            return Reply(400, {"message": "Bad Request", "error": 400})
        told = {"access_token": self.token, "token_type": "bearer", "expires_in": 86_400, "scope": self.scope}
        return Reply(data=told | {"refresh_token": self.refresh_token})

    def _answer(self, path: str, request: Request) -> Reply:
        form = {name: values[0] for name, values in request.form.items()} if request.method == "POST" else {}
        match path.split("/"):
            case ["api", "v1", "me"]:
                return Reply(data=self.me)
            case ["r", _, "about"]:
                return Reply(data={"kind": "t5", "data": self.about})
            case ["api", "v1", _, "post_requirements"]:
                return Reply(data={"is_flair_required": self.flair_required, **self.requirements})
            case ["api", "submit"]:
                return self._submit(form)
            case ["api", "comment"]:
                return self._comment(form)
            case ["api", "del"]:
                if (thing := self.things.get(form["id"])) is not None:
                    text = "selftext" if thing["kind"] == "t3" else "body"
                    thing["data"] |= {text: "[deleted]", "author": "[deleted]"}
                return Reply(data={})
            case ["api", "editusertext"]:
                return Reply(data={"json": {"errors": [], "data": {"things": []}}})
            case ["api", "info"]:
                asked = request.query["id"][0].split(",")
                return _listing([self.things[name] for name in asked if name in self.things][:100])
            case ["message", "inbox"]:
                return self._page([self.things[name] for name in self.inbox], request)
            case ["user", name, where]:
                kinds = {"submitted": ("t3",), "comments": ("t1",)}.get(where, ("t1", "t3"))
                return self._page(self._shown(kinds, "author", name), request)
            case ["r", name, where]:
                return self._page(self._shown(("t3",) if where == "new" else ("t1",), "subreddit", name), request)
        return Reply(404, {"message": "Not Found", "error": 404})

    def _submit(self, form: dict[str, str]) -> Reply:
        if self.flair_required and not form.get("flair_id"):
            return error("SUBMIT_VALIDATION_FLAIR_REQUIRED", "Your post must contain post flair.", "flair")
        made = self.add("t3", title=form["title"], selftext=form.get("text", ""), subreddit=form["sr"])
        url = f"https://www.reddit.com{made['permalink']}"
        return Reply(data={"json": {"errors": [], "data": {"url": url, "id": made["id"], "name": made["name"]}}})

    def _comment(self, form: dict[str, str]) -> Reply:
        above = self.things.get(form["thing_id"])
        if above is None:
            return error("NO_THING_ID", "id not specified", "parent")
        made = self.add(
            "t1",
            body=form["text"],
            parent_id=form["thing_id"],
            link_id=above["data"].get("link_id", above["data"]["name"]),
        )
        return Reply(data={"json": {"errors": [], "data": {"things": [{"kind": "t1", "data": made}]}}})

    def _shown(self, kinds: tuple[str, ...], what: str, value: str) -> list[dict[str, Any]]:
        shown = self.clock() - self.lag
        return [
            thing
            for thing in self.things.values()
            if thing["kind"] in kinds
            and str(thing["data"][what]).lower() == value.lower()
            and (not self.lag or thing["data"]["created_utc"] <= shown)
        ]

    def _page(self, things: list[dict[str, Any]], request: Request) -> Reply:
        newest = sorted(things, key=lambda thing: -float(thing["data"]["created_utc"]))
        names = [thing["data"]["name"] for thing in newest]
        start = names.index(request.query["after"][0]) + 1 if "after" in request.query else 0
        end = start + min(100, int(request.query.get("limit", ["25"])[0]))
        return _listing(newest[start:end], names[end - 1] if end < len(names) else None)


def _listing(things: list[dict[str, Any]], after: str | None = None) -> Reply:
    return Reply(data={"kind": "Listing", "data": {"children": things, "after": after, "before": None}})
