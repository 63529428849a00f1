"""Telegram's Bot API, and what its refusals mean for the owner of a connection. Reference: core.telegram.org/bots/api.

The bot's token is part of every address. So no failure leaves here with the exception that caused it, and what the
HTTP library writes into the log loses the token first.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from django.conf import settings

from accounts import outbound
from faces.contract import FaceError
from faces.http import Answer, Api

BASE = "https://api.telegram.org"
Result = TypeVar("Result")

NO_TOKEN = "Telegram does not know the bot's token (any more): enter the one that @BotFather shows."  # nosec B105 # words
LACKS_RIGHTS = "The bot lacks the right to post in the chat: make it an administrator with the right to post messages."
MEANINGS = (
    ("chat not found", "There is no such chat, or the bot is not in it: check its name, and add the bot.", True),
    ("bot was kicked", "The bot was removed from the chat: add it again as an administrator.", True),
    ("bot is not a member", "The bot is not in the chat: add it as an administrator.", True),
    ("chat was deleted", "The chat was deleted.", True),
    ("upgraded to a supergroup", "The group has become a supergroup and has a new id: enter it.", True),
    ("not enough rights", LACKS_RIGHTS, True),
    ("have no rights", LACKS_RIGHTS, True),
    ("administrator rights", LACKS_RIGHTS, True),
    ("chat_write_forbidden", LACKS_RIGHTS, True),
    ("bot was blocked", "The user has blocked the bot.", False),
    ("message to be replied not found", "The message to answer is gone.", False),
    ("caption is too long", "A text below images is too long: Telegram takes 1,024 characters there.", False),
    ("caption_too_long", "A text below images is too long: Telegram takes 1,024 characters there.", False),
    ("message is too long", "The text is too long for Telegram.", False),
    ("text is too long", "The text is too long for Telegram.", False),
    ("message text is empty", "Telegram takes no empty message: write something, or add an image.", False),
    ("must be encoded in utf-8", "The text holds half of a character: write it again.", False),
    ("can't be deleted", "Telegram lets the bot delete this message no more: delete it by hand.", False),
    ("photo_invalid_dimensions", "An image is too large or too narrow for Telegram.", False),
    ("image_process_failed", "Telegram cannot read one of the images.", False),
    ("webhook is active", "The bot reports to another program (a webhook): use a bot of its own for Kilroy.", False),
    ("other getupdates", "Another program reads what this bot receives: use a bot of its own for Kilroy.", False),
)
"""(words of a refusal, what they mean, whether no post can go out before somebody changes something there)."""

GONE = "message to delete not found"


class TelegramError(FaceError):
    """A refusal: `told` is Telegram's own description; `mend` says that no post can go out before somebody changes
    something on Telegram.
    """

    told = ""
    mend = False


class TelegramApi(Api):
    """One call is one request; refusals are TelegramErrors. No error holds the token."""

    def __init__(self, token: str) -> None:
        base = settings.API_BASES.get("telegram", BASE)
        super().__init__("Telegram", f"{base}/bot{token}", outbound.session())
        self._token = token
        for name in ("urllib3.connectionpool", "urllib3.util.retry"):
            logging.getLogger(name).addFilter(hide_tokens)

    def call(self, kind: type[Result], method: str, files: Mapping[str, Any] | None = None, **asked: Any) -> Result:
        """The result of a method of the Bot API, which is of this kind."""
        if files:
            fields = {name: v if isinstance(v, str) else json.dumps(v) for name, v in asked.items()}
            data = self.post(f"/{method}", data=fields, files=files).data
        else:
            data = self.post(f"/{method}", json=asked).data
        result = data.get("result") if isinstance(data, Mapping) and data.get("ok") is True else None
        if not isinstance(result, kind):
            raise FaceError("Telegram's answer cannot be understood.", permanent=False, sent=True)
        return result

    def _request(self, method: str, path: str, **how: Any) -> Answer:
        try:
            return super()._request(method, path, **how)
        except TelegramError as refusal:
            error: FaceError = refusal
        except FaceError as failure:
            error = failure
        except Exception as unforeseen:  # whatever it is, its words may hold the address
            error = FaceError(f"Telegram could not be asked: {type(unforeseen).__name__}.", permanent=False, sent=True)
        raise self._without_token(error)  # out here, because inside it would take its cause along

    def _without_token(self, error: FaceError) -> FaceError:
        clean: FaceError
        if isinstance(error, TelegramError):
            clean = TelegramError(self._hidden(str(error)), permanent=error.permanent)
            clean.told, clean.mend = self._hidden(error.told), error.mend
        else:
            clean = FaceError(self._hidden(str(error)), permanent=error.permanent)
        clean.sent, clean.retry_after, clean.status = error.sent, error.retry_after, error.status
        clean.credentials = error.credentials
        return clean

    def _hidden(self, words: str) -> str:
        return words.replace(self._token, "…") if self._token else words

    def _refusal(self, status: int, headers: Mapping[str, str], data: Any) -> FaceError:
        told = data if isinstance(data, Mapping) else {}
        description = str(told.get("description", ""))
        wait = (told.get("parameters") or {}).get("retry_after")
        if "retry-after" not in headers and isinstance(wait, int | float):
            headers = {**headers, "retry-after": str(wait)}
        plain = super()._refusal(status, headers, {})
        unknown = status == 401 or (status == 404 and bool(description))
        meaning, mend = next(
            ((words, mend) for part, words, mend in MEANINGS if part in description.lower()), (description[:300], False)
        )
        words = NO_TOKEN if unknown else str(plain).removesuffix(".") + (f": {meaning}" if meaning else ".")
        error = TelegramError(
            words,
            permanent=plain.permanent,
            sent=plain.sent,
            retry_after=plain.retry_after,
            credentials=unknown,
            status=status,
        )
        error.told, error.mend = description, mend
        return error


def hide_tokens(record: logging.LogRecord) -> bool:
    """A filter for the log of the HTTP library: the path of a request to a bot loses the token."""
    message = record.getMessage()
    if "/bot" in message:
        record.msg, record.args = re.sub(r"/bot\d+:[\w-]+", "/bot…", message), ()
    return True
