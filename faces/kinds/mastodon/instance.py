"""An instance's address, and its HTML as plain text."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

_BLOCKS = frozenset({"p", "br", "li", "div", "blockquote"})


def instance_address(text: str) -> str:
    """`https://host` of what a person typed. Raises ValidationError.

    Plain http is kept only for a host that the operator has opened (KILROY_OUTBOUND_ALLOW).
    """
    typed = text.strip().rstrip("/")
    parts = urlsplit(typed if "://" in typed else f"https://{typed}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    opened = (host, port or 443) in settings.OUTBOUND_ALLOW
    if not host or parts.username or parts.path or parts.scheme not in ("https", "http"):
        raise ValidationError("Write the instance's name, such as mastodon.social.")
    if parts.scheme == "http" and not opened:
        raise ValidationError("The instance must be reached by https.")
    return f"{parts.scheme}://{parts.netloc.lower()}"


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
