"""X's interface v2, spoken with tweepy: one call is one request, and whatever goes wrong is a FaceError.

tweepy knows the paths and parameters. The host, the limits of time and bytes and the table of errors are those of
`faces.http`: tweepy gets a session that sends through it. Only a good answer reaches tweepy, which would otherwise wait
for any length of time and hide the headers and the body of a refusal; and it never holds the token, which it would
write into its debugging log.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tweepy
from django.conf import settings

from accounts import outbound
from faces.contract import FaceError
from faces.http import Answer, Api, retry_after

HOST = "https://api.x.com"
TWEEPY_HOST = "https://api.twitter.com"
NO_CREDITS_WAIT = 3600.0

_DUPLICATE = re.compile(r"duplicate content|status is a duplicate", re.IGNORECASE)
_LOCKED = re.compile(
    r"account (?:is|has been) (?:temporarily )?(?:suspended|locked|deactivated)|user (?:is|has been) suspended",
    re.IGNORECASE,
)
_APP_REFUSED = ("/client-forbidden", "/unsupported-authentication")
_WINDOWS = ("x-rate-limit", "x-user-limit-24hour", "x-app-limit-24hour")


def base() -> str:
    """Where X's interface is: X itself, or what the operator has put in its place."""
    address: str = settings.API_BASES.get("x", HOST)
    return address


def client(token: str) -> Any:
    """A `tweepy.Client` that acts for the account which gave this token; its answers are the parsed JSON."""
    found = tweepy.Client(return_type=dict, wait_on_rate_limit=False)
    api = XApi("X", base(), outbound.session(), headers={"Authorization": f"Bearer {token}"}, explain=explain)
    found.session = _Session(api)
    return found


def explain(data: Any) -> str:
    """X's own words for an error: of a problem (RFC 9457), of its list of errors, or of OAuth."""
    if not isinstance(data, Mapping):
        return ""
    listed = data["errors"] if isinstance(data.get("errors"), list) else []
    several = [str(entry.get("message") or entry.get("detail") or "") for entry in listed if _is_object(entry)]
    told = [*several, *(str(data.get(name) or "") for name in ("detail", "error_description"))]
    return " ".join(dict.fromkeys(filter(None, told))) or str(data.get("title") or data.get("error") or "")


class XApi(Api):
    """What X's refusals prove, where they prove something else than other platforms' do."""

    def _refusal(self, status: int, headers: Mapping[str, str], data: Any) -> FaceError:
        error = super()._refusal(status, headers, data)
        if status == 429:
            return FaceError(str(error), permanent=False, retry_after=_wait(headers), status=429)
        if status == 402:
            told = f"{error} The developer app has no credits left: its owner can buy some at console.x.com."
            return FaceError(told, permanent=False, retry_after=NO_CREDITS_WAIT, status=402)
        return _forbidden(error, data) if status == 403 else error


def _forbidden(error: FaceError, data: Any) -> FaceError:
    words = str(error)
    if not _is_object(data) or not data:  # X refuses in JSON: this came from something on the way, and proves nothing
        return FaceError(words, permanent=False, sent=True, status=403)
    if _DUPLICATE.search(words):  # perhaps of an attempt of ours whose answer was lost
        return FaceError(words, permanent=False, sent=True, status=403)
    if _LOCKED.search(words):
        told = f"{words} Sign in on x.com to see what X wants of this account, then check the connection."
        return FaceError(told, permanent=True, credentials=True, status=403)
    if str(data.get("type", "")).endswith(_APP_REFUSED):
        told = f"{words} X does not take the developer app: look at its settings at console.x.com, then connect again."
        return FaceError(told, permanent=True, credentials=True, status=403)
    return error


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds until every window that is used up has ended: X counts by 15 minutes and by day."""
    ends = [
        float(headers[f"{window}-reset"])
        for window in _WINDOWS
        if headers.get(f"{window}-remaining") == "0" and headers.get(f"{window}-reset", "").isdigit()
    ]
    return max(0.0, max(ends) - time.time()) if ends else retry_after(headers)


def _is_object(data: Any) -> bool:
    return isinstance(data, Mapping)


@dataclass(frozen=True)
class _Response:
    """As much of a response as tweepy looks at."""

    answer: Answer
    reason: str = ""

    @property
    def status_code(self) -> int:
        return self.answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self.answer.headers

    @property
    def content(self) -> bytes:
        return json.dumps(self.answer.data).encode()

    def json(self) -> Any:
        return self.answer.data

    def __enter__(self) -> _Response:
        return self

    def __exit__(self, *exception: object) -> None:
        return


class _Session:
    """What tweepy takes for a `requests.Session`."""

    def __init__(self, api: XApi) -> None:
        self._send = {"GET": api.get, "POST": api.post, "DELETE": api.delete}

    def request(self, method: str, url: str, *, params: Any = None, json: Any = None, **of_tweepy: Any) -> _Response:
        answer = self._send[method](url.removeprefix(TWEEPY_HOST), params=params, json=json)
        if not _is_object(answer.data):
            raise FaceError("X answered with something that it never answers with.", permanent=False, sent=True)
        return _Response(answer)
