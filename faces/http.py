"""Talking to a platform's HTTP interface: limits, error table and proof of what was sent, written once for all faces.

One call is one request: nothing here repeats one. What went wrong becomes a FaceError that says whether the platform
may have acted on it: only a name that does not resolve, a refused connection, a certificate that does not fit or a
plain refusal by the platform proves that nothing was published.
"""

from __future__ import annotations

import email.utils
import json
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError

from accounts.outbound import Forbidden
from faces import confidence
from faces.contract import FaceError

CONNECT_SECONDS, READ_SECONDS, TOTAL_SECONDS = 5.0, 15.0, 20.0
MOST_BYTES = 8 * 1024 * 1024
REFUSED = {400, 404, 405, 406, 410, 413, 414, 415, 422}
RESET_HEADERS = (
    "retry-after",
    "x-ratelimit-reset-after",
    "x-ratelimit-reset",
    "ratelimit-reset",
    "x-rate-limit-reset",
)
UNSENDABLE = "The credentials hold a character that no platform's token has: enter them again."
UNPROVEN = {408, 409, 425}
"""Answers after which the platform may have acted all the same; so may it after every 5xx."""


@dataclass(frozen=True)
class Answer:
    """A platform's answer: status, headers and parsed JSON ({} for an empty body)."""

    status: int
    headers: Mapping[str, str]
    data: Any


class Api:
    """One platform's interface below `base`; `explain` takes the platform's own words for an error out of its JSON."""

    def __init__(
        self,
        platform: str,
        base: str,
        session: requests.Session,
        *,
        headers: Mapping[str, str] | None = None,
        explain: Callable[[Any], str] = lambda data: "",
    ) -> None:
        self.platform, self.base, self.explain = platform, base.rstrip("/"), explain
        self._session = session
        self._headers = {"User-Agent": "Kilroy", "Accept": "application/json", **(headers or {})}

    def get(self, path: str, **how: Any) -> Answer:
        return self._request("GET", path, **how)

    def post(self, path: str, **how: Any) -> Answer:
        return self._request("POST", path, **how)

    def delete(self, path: str, **how: Any) -> Answer:
        return self._request("DELETE", path, **how)

    def _request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **how: Any) -> Answer:
        url = path if path.startswith(("https://", "http://")) else self.base + path
        deadline = time.monotonic() + TOTAL_SECONDS
        headers = {**self._headers, **(headers or {})}
        secrets = confidence.told(headers, how)
        try:
            with self._session.request(
                method,
                url,
                headers=headers,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                stream=True,
                **how,
            ) as response:
                status, told = response.status_code, dict(response.headers)
                body = self._read(response, deadline)
        except Forbidden as error:
            raise FaceError(str(error), permanent=True) from None
        except (requests.exceptions.InvalidHeader, UnicodeEncodeError):
            # `from None`: what these say holds the header.
            raise FaceError(UNSENDABLE, permanent=True, credentials=True) from None
        except (requests.RequestException, HTTPError) as error:
            raise unreachable(self.platform, error) from error
        return self._answer(status, told, body, secrets)

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        body = b""
        # `read1` returns what is there: a platform may send drop by drop, and the deadline holds all the same.
        while chunk := response.raw.read1(16_384, decode_content=True):
            body += chunk
            if len(body) > MOST_BYTES or time.monotonic() > deadline:
                raise FaceError(f"{self.platform} answered too much or too slowly.", permanent=False, sent=True)
        return body

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes, secrets: Collection[str]) -> Answer:
        headers = {name.lower(): value for name, value in headers.items()}
        is_json = True
        data: Any = {}
        try:
            data = json.loads(body) if body.strip() else {}
        except ValueError:
            is_json = False
        if 200 <= status < 300:
            if not is_json:
                raise FaceError(
                    f"{self.platform} answered with something that is not JSON (a page of maintenance?).",
                    permanent=False,
                    sent=True,
                )
            return Answer(status, headers, data)
        raise self._refusal(status, headers, confidence.without(data, secrets))

    def _refusal(self, status: int, headers: Mapping[str, str], data: Any) -> FaceError:
        """What a refusal means; platforms that mean something else by it than its status says have their own."""
        return refusal(self.platform, status, headers, self.explain(data) if data else "")


def refusal(platform: str, status: int, headers: Mapping[str, str], told: str = "") -> FaceError:
    """What an answer other than success means; `told` is the platform's own words for it."""
    words = f"{platform} answered {status}" + (f": {told[:300]}" if told else ".")
    if status == 429:
        return FaceError(words, permanent=False, retry_after=retry_after(headers), status=status)
    if status in (401, 403):
        return FaceError(words, permanent=True, credentials=status == 401, status=status)
    if 300 <= status < 400:
        return FaceError(f"{words} It points elsewhere: check the address.", permanent=True, status=status)
    if status in REFUSED:
        return FaceError(words, permanent=True, status=status)
    return FaceError(words, permanent=False, sent=status in UNPROVEN or status >= 500, status=status)


def unreachable(platform: str, error: BaseException) -> FaceError:
    """What a request without an answer means: `sent` unless it failed before its first byte left."""
    return FaceError(f"{platform} could not be reached: {_plain(error)}", permanent=False, sent=not _unsent(error))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the platform asked us to wait: `Retry-After` (seconds or a date) or a rate limit's reset time."""
    for name in RESET_HEADERS:
        value = headers.get(name, "").strip()
        if not value:
            continue
        moment = _moment(value)
        if moment is not None:
            return max(0.0, (moment - datetime.now(UTC)).total_seconds())
        try:
            return max(0.0, float(value))
        except ValueError:
            continue
    return None


def _moment(value: str) -> datetime | None:
    """A date of HTTP or ISO 8601, or a Unix time; None for a number of seconds to wait."""
    if value.replace(".", "", 1).isdigit():
        seconds = float(value)
        return datetime.fromtimestamp(seconds, UTC) if seconds > 1_000_000_000 else None
    for parse in (datetime.fromisoformat, email.utils.parsedate_to_datetime):
        try:
            moment = parse(value)
        except ValueError:
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def _unsent(error: BaseException) -> bool:
    """Whether a failure happened before the first byte of the request left."""
    seen: set[int] = set()
    queue: list[Any] = [error]
    while queue:
        at = queue.pop()
        if not isinstance(at, BaseException) or id(at) in seen:
            continue
        seen.add(id(at))
        if isinstance(at, NewConnectionError | ConnectTimeoutError | NameResolutionError | requests.ConnectTimeout):
            return True
        if isinstance(at, ssl.SSLCertVerificationError) or str(at).endswith("does not resolve."):
            return True
        queue += [at.__cause__, at.__context__, getattr(at, "reason", None), *at.args]
    return False


def _plain(error: BaseException) -> str:
    """A failure in a few words, without addresses of ours or headers in it."""
    if isinstance(error, requests.Timeout):
        return "it did not answer in time."
    if isinstance(error, requests.exceptions.InvalidURL):
        return "its address is none of a web server."
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate could not be checked."
    return "the connection failed." if isinstance(error, requests.ConnectionError) else "the answer broke off."
