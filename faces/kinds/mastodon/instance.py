"""An instance: its address, the way to its interface, and its HTML as plain text."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

from accounts import outbound
from faces.contract import FaceError
from faces.http import Api

_BLOCKS = frozenset({"p", "br", "li", "div", "blockquote"})


def instance_address(text: str) -> str:
    """`https://host` of what a person typed. Raises ValidationError.

    Plain http is kept only for a host that the operator has opened (KILROY_OUTBOUND_ALLOW).
    """
    typed = text.strip().rstrip("/")
    try:
        parts = urlsplit(typed if "://" in typed else f"https://{typed}")
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    opened = (host, port or 443) in settings.OUTBOUND_ALLOW
    if not host or parts.username or parts.path or parts.scheme not in ("https", "http"):
        raise ValidationError("Write the instance's name, such as mastodon.social.")
    if parts.scheme == "http" and not opened:
        raise ValidationError("The instance must be reached by https.")
    return f"{parts.scheme}://{parts.netloc.lower()}"


WAITING = ("your login", "your account requires", "outside the authorized scopes")
"""How a 403 begins that is about the account or its token, and not about the one request (Mastodon's own words, which
it does not translate)."""


class _InstanceApi(Api):
    """An instance's interface. An account that is disabled or unconfirmed, or a token without the scope, is refused
    with a 403: the connection is broken then, and the post as good as before.
    """

    def _refusal(self, status: int, headers: Mapping[str, str], data: Any) -> FaceError:
        error = super()._refusal(status, headers, data)
        if status == 403 and any(words in self.explain(data).lower() for words in WAITING):
            error.credentials = True
        return error


def api(instance: str, token: str = "") -> Api:  # nosec B107 # empty: nobody
    """The interface of an instance, for the account that the token belongs to."""
    return _InstanceApi(
        "Mastodon",
        instance,
        outbound.session(),
        headers={"Authorization": f"Bearer {token}"} if token else None,
        explain=_explain,
    )


def _explain(data: Any) -> str:
    told = data if isinstance(data, Mapping) else {}
    return str(told.get("error_description") or told.get("error") or "")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS and self.parts:
            self.parts.append("\n\n" if tag == "p" else "\n")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def plain_text(content: str) -> str:
    """A status' HTML as the text that was written: paragraphs by blank lines, links in full, mentions as shown."""
    parser = _Text()
    parser.feed(content)
    parser.close()
    return html.unescape("".join(parser.parts)).strip()


def comparable(text: str) -> str:
    """A text without what a server may change: white space, and the domains of mentions."""
    return re.sub(r"\s+", " ", re.sub(r"(@[\w.-]*\w)@[\w.-]*\w", r"\1", text)).strip()
