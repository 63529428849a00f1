"""What Reddit's refusals mean. It names an error in two places: in a list beside a 200, and as the `reason` of a 4xx.

Names: Reddit's source as it was last published (r2/lib/errors.py), its recorded answers, and its interface today.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faces.contract import FaceError
from faces.http import refusal

AN_HOUR = 3600.0
_UNITS = {"millisecond": 0.001, "second": 1.0, "minute": 60.0, "hour": AN_HOUR, "day": 86_400.0}
_WAIT = re.compile(rf"(\d+|an?)\s+({'|'.join(_UNITS)})", re.IGNORECASE)


@dataclass(frozen=True)
class Meaning:
    """What to tell a bot's owner, and how the FaceError is marked (see there)."""

    words: str
    permanent: bool = True
    credentials: bool = False
    sent: bool = False
    wait: float | None = None


_SLOWER = "Reddit wants this account to post more slowly."
_GONE = "What this answers has been deleted."
_PRIVATE = "This subreddit is private, and the account is not in it."
_CONNECT = "Reddit does not take this connection any more: connect again."
_FLAIR = "Choose another flair in the connection's settings: the subreddit does not know this one."

MEANINGS: dict[str, Meaning] = {
    "RATELIMIT": Meaning(_SLOWER, permanent=False),
    "SUBREDDIT_RATELIMIT": Meaning(_SLOWER, permanent=False),
    "QUOTA_FILLED": Meaning(_SLOWER, permanent=False, wait=AN_HOUR),
    "SOMETHING_IS_BROKEN": Meaning("Something broke at Reddit.", permanent=False, sent=True),
    "USER_REQUIRED": Meaning(_CONNECT, credentials=True),
    "OAUTH2_INVALID_REFRESH_TOKEN": Meaning(_CONNECT, credentials=True),
    "VERIFIED_USER_REQUIRED": Meaning("The account must confirm its e-mail address at Reddit first."),
    "SUBREDDIT_NOEXIST": Meaning("There is no such subreddit: correct it in the connection's settings."),
    "SUBREDDIT_REQUIRED": Meaning("Enter a subreddit in the connection's settings."),
    "BAD_SR_NAME": Meaning("That is no name of a subreddit: correct it in the connection's settings."),
    "SUBREDDIT_NOTALLOWED": Meaning("The account may not post in this subreddit: ask its moderators."),
    "private": Meaning(_PRIVATE),
    "banned": Meaning("Reddit has closed this subreddit."),
    "quarantined": Meaning("This subreddit is quarantined: let the account opt in at Reddit first."),
    "SUBMIT_VALIDATION_FLAIR_REQUIRED": Meaning(
        "This subreddit demands flair: enter one in the connection's settings, then check the connection."
    ),
    "BAD_FLAIR_TEMPLATE_ID": Meaning(_FLAIR),
    "FLAIR_TEMPLATE_NOT_FOUND": Meaning(_FLAIR),
    "BAD_FLAIR_TARGET": Meaning(_FLAIR),
    "NO_SELFS": Meaning("This subreddit takes links only, no texts."),
    "NO_TEXT": Meaning("Something is empty that must not be: the title is the text's first line."),
    "TOO_LONG": Meaning("The text is too long for Reddit or for this subreddit."),
    "TOO_SHORT": Meaning("The text is too short for this subreddit."),
    "ALREADY_SUB": Meaning("This has been posted there before."),
    "DOMAIN_BANNED": Meaning("Reddit does not allow a link in this text."),
    "BAD_CAPTCHA": Meaning("Reddit wants a person to solve a captcha: post once by hand with this account."),
    "THREAD_LOCKED": Meaning("The thread is locked: nobody can answer there."),
    "TOO_OLD": Meaning("The thread is archived: nobody can answer there any more."),
    "DELETED_LINK": Meaning(_GONE),
    "DELETED_COMMENT": Meaning(_GONE),
    "DELETED_THING": Meaning(_GONE),
    "NO_THING_ID": Meaning("Reddit does not know what this answers."),
    "USER_BLOCKED": Meaning("Its author has blocked this account, or the account has blocked its author."),
    "NOT_AUTHOR": Meaning("Only its author may do this."),
    "NO_API": Meaning("Reddit does not allow this to programs."),
}


def named(name: str, told: str = "", *, seconds: float | None = None, status: int = 0) -> FaceError:
    """The error that Reddit calls `name`; `told` is its sentence, `seconds` the wait it gave as a number."""
    meaning = MEANINGS.get(name, Meaning("Reddit refused this."))
    words = f"{meaning.words} ({name}{': ' + told[:300] if told else ''})"
    wait = None
    if not meaning.permanent and not meaning.sent:
        wait = seconds if seconds is not None else wait_in(told)
        wait = meaning.wait if wait is None else wait
    return FaceError(
        words,
        permanent=meaning.permanent,
        credentials=meaning.credentials,
        sent=meaning.sent,
        retry_after=wait,
        status=status,
    )


def listed(answer: Mapping[str, Any]) -> FaceError | None:
    """The error in `{"json": {"errors": [[name, sentence, field], …]}}`, None when there is none. Of several, the one
    that waiting does not mend.
    """
    within = answer.get("json")
    within = within if isinstance(within, Mapping) else {}
    if not (told := within.get("errors")):
        return None
    seconds = within.get("ratelimit")
    errors = [
        named(str(error[0]), str(error[1] or ""), seconds=float(seconds) if seconds is not None else None)
        for error in told
    ]
    return next((error for error in errors if error.permanent), errors[0])


def refused(status: int, headers: Mapping[str, str], body: str) -> FaceError:
    """What an answer other than success means."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if status == 403 and "insufficient_scope" in headers.get("www-authenticate", ""):
        return FaceError(
            "Reddit was not asked for a permission that this needs: connect again and allow all of them.",
            permanent=True,
            credentials=True,
            status=status,
        )
    if status in (401, 403) and "suspended" in body.lower():
        return FaceError("Reddit has suspended this account.", permanent=True, credentials=True, status=status)
    if status == 403 and not isinstance(told, Mapping):
        # A page in place of JSON comes from Reddit's edge: it says nothing of the post.
        return FaceError(
            "Reddit blocks requests from here: check the connection's user agent.", permanent=False, status=status
        )
    told = told if isinstance(told, Mapping) else {}
    words = str(told.get("explanation") or told.get("message") or "")
    name = told.get("reason")
    if isinstance(name, str) and (name in MEANINGS or (name.isupper() and 400 <= status < 500 and status != 429)):
        return named(name, str(told.get("explanation") or ""), status=status)
    return refusal("Reddit", status, headers, words)


def wait_in(told: str) -> float | None:
    """Seconds in words like “Take a break for 9 minutes before trying again.”; None where there are none."""
    found = _WAIT.findall(told)
    if not found:
        return None
    return sum((1.0 if number[0] in "aA" else float(number)) * _UNITS[unit.lower()] for number, unit in found)
