"""All that praw sends to Reddit goes through here.

praw and prawcore repeat what failed (also a submission that timed out), and sleep when a limit is near. Both rest on
what they see of failures and limits, so `OneRequest` shows them neither: every answer but success leaves it as a
FaceError.
"""

from __future__ import annotations

import time
from typing import Any

import requests
from django.conf import settings
from prawcore import Requestor
from urllib3.exceptions import HTTPError

from accounts import outbound
from faces import confidence
from faces.contract import FaceError
from faces.http import CONNECT_SECONDS, MOST_BYTES, READ_SECONDS, TOTAL_SECONDS, unreachable
from faces.kinds.reddit.errors import refused

LIMIT_HEADERS = ("x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-used")


def hosts() -> dict[str, Any]:
    """Where Reddit is: `reddit_url` gives tokens, `oauth_url` takes everything else."""
    base = settings.API_BASES.get("reddit")
    return {"reddit_url": base or "https://www.reddit.com", "oauth_url": base or "https://oauth.reddit.com"}


class OneRequest(Requestor):
    """Sends one request in at most `seconds`, and returns a success or raises a FaceError."""

    def __init__(self, *, seconds: float = TOTAL_SECONDS, **how: Any) -> None:
        super().__init__(session=outbound.session(), **how)
        self._seconds, self._free_at = seconds, 0.0

    def request(self, *args: Any, timeout: float | None = None, **how: Any) -> requests.Response:
        """`args`: method and address. `timeout` is praw's, and not used. Raises FaceError."""
        if (wait := self._free_at - time.monotonic()) > 0:
            raise FaceError("Reddit's limit of requests is used up.", permanent=False, retry_after=wait)
        try:
            response = self._sent(*args, **how)
            self._note_limits(response.headers)
            if not 200 <= response.status_code < 300:
                secrets = confidence.told(how.get("headers") or {}, how)
                raise refused(response.status_code, response.headers, confidence.without(response.text, secrets))
        except outbound.Forbidden as error:
            raise FaceError(str(error), permanent=True) from None
        except (requests.RequestException, HTTPError) as error:
            # `from None`: what praw and requests raise holds the request, with its token.
            raise unreachable("Reddit", error) from None
        return response

    def _sent(self, method: str, url: str, **how: Any) -> requests.Response:
        deadline = time.monotonic() + self._seconds
        timeout = (min(CONNECT_SECONDS, self._seconds), min(READ_SECONDS, self._seconds))
        how = {**how, "allow_redirects": False, "stream": True, "timeout": timeout}
        with self._http.request(method, url, **how) as response:
            body = b""
            while chunk := response.raw.read1(65_536, decode_content=True):
                body += chunk
                if len(body) > MOST_BYTES or time.monotonic() > deadline:
                    raise requests.ReadTimeout("too much, or too slow")
            response._content = body
        return response

    def _note_limits(self, headers: Any) -> None:
        told = {name: headers.pop(name, "") for name in LIMIT_HEADERS}
        try:
            remaining, reset = float(told["x-ratelimit-remaining"]), float(told["x-ratelimit-reset"])
        except ValueError:
            return
        headers.setdefault("retry-after", str(reset))  # read only beside a refusal
        if remaining < 1:
            self._free_at = time.monotonic() + reset
