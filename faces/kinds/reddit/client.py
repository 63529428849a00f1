"""Reddit's interface for one connection, by praw: plain JSON in and out, one request per call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import praw
from praw.const import API_PATH
from prawcore.exceptions import PrawcoreException

from faces.contract import FaceError
from faces.kinds.reddit.errors import listed
from faces.kinds.reddit.one_request import OneRequest, hosts
from faces.kinds.reddit.things import moment
from faces.kinds.reddit.tokens import live_secrets, user_agent
from faces.models import Connection

BATCH = 100


class Client:
    """Every verb raises FaceError, and nothing else, for what Reddit does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._praw: praw.Reddit | None = None
        self._token = self._refused = ""  # nosec B105 # none yet

    def get(self, path: str, **params: str | int) -> Any:
        """The answer's JSON."""
        return self._call("GET", path, params=params)

    def record(self, path: str) -> dict[str, Any]:
        """The answer's JSON, an object."""
        if not isinstance(found := self.get(path), dict):
            raise FaceError("Reddit's answer is not what was asked for.", permanent=False)
        return found

    def account(self) -> dict[str, Any]:
        """The account that the token speaks for; `name` is its name."""
        if not (me := self.record(API_PATH["me"])).get("name"):
            raise FaceError("Reddit does not say whose account this is.", permanent=False)
        return me

    def post(self, path: str, **data: str | bool) -> Mapping[str, Any]:
        """The answer's JSON, whatever errors are listed in it."""
        answer = self._call("POST", path, data=data)
        return answer if isinstance(answer, Mapping) else {}

    def act(self, path: str, **data: str | bool) -> None:
        """Like `post`, where the errors listed are all there is to know of the answer."""
        if error := listed(self.post(path, **data)):
            raise error

    def things(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Full name → `{"kind": …, "data": …}` of those posts and comments that Reddit knows; a request per hundred."""
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(names), BATCH):
            page = self.get(API_PATH["info"], id=",".join(names[start : start + BATCH]))
            found |= {thing["data"]["name"]: thing for thing in children(page)}
        return found

    def listing(self, path: str, since: datetime | None, pages: int, **params: str) -> Iterator[dict[str, Any]]:
        """What a list holds, newest first, until `since`."""
        asked: dict[str, str | int] = {"limit": BATCH, **params}
        for _ in range(pages):
            page = self.get(path, **asked)
            for thing in children(page):
                data = thing["data"]
                if since is None or moment(data) >= since:
                    yield thing
                elif not (data.get("pinned") or data.get("stickied")):  # those stand above newer ones
                    return
            if not (after := page["data"].get("after")):
                return
            asked["after"] = after

    def _call(self, method: str, path: str, **how: Any) -> Any:
        try:
            return self._once(method, path, **how)
        except FaceError as error:
            error.sent = error.sent and method != "GET"
            if error.status != 401:
                raise
        raise self._meaning_of_401()

    def _once(self, method: str, path: str, **how: Any) -> Any:
        try:
            return self._reddit().request(method=method, path=path, **how)
        except PrawcoreException:
            raise FaceError(
                "Reddit answered with something that is not JSON (a page of maintenance?).", permanent=False, sent=True
            ) from None

    def _reddit(self) -> praw.Reddit:
        if self._praw is None:
            known = live_secrets(self._connection, self._refused)
            self._token = known["access_token"]
            self._praw = praw.Reddit(
                client_id=known.get("client_id", "unknown"),
                client_secret=None,  # with the secret praw would renew tokens by itself
                user_agent=user_agent(self._connection.settings),
                requestor_class=OneRequest,
                check_for_updates=False,
                check_for_async=False,
                **hosts(),
            )
            self._praw.auth.implicit(access_token=self._token, expires_in=0, scope="*")
        return self._praw

    def _meaning_of_401(self) -> FaceError:
        """A token may end early: only a new one shows whether the account still allows us."""
        self._refused, self._praw = self._token, None
        try:
            self._once("GET", API_PATH["me"])
        except FaceError as error:
            error.sent = False
            return error
        return FaceError("Reddit wanted a new token, and has one now.", permanent=False, status=401)


def children(page: Any) -> list[dict[str, Any]]:
    """The entries of a listing, each with its kind, name and time."""
    try:
        found: list[dict[str, Any]] = page["data"]["children"]
        for thing in found:
            moment(thing["data"])
            thing["kind"], thing["data"]["name"]
    except (KeyError, TypeError, ValueError):
        raise FaceError("Reddit's answer is no list of posts and comments.", permanent=False) from None
    return found
