"""Traffic that others recorded of real platforms, replayed on loopback (see requirements/recordings.sh).

A recorded answer is given once, in its order, to the request whose method, path and query are the recorded ones and
which sends every form field that was recorded, with its value. What fits nothing is kept in `unmatched`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from django.conf import settings

from tests.faces.loopback import Reply, Request

FOLDER = Path(settings.BASE_DIR) / "var" / "test-recordings"
NOT_OURS = {"content-length", "content-encoding", "transfer-encoding", "connection"}


def cassettes(package: str) -> Path:
    """The unpacked source distribution (`praw-8.0.3`); without it the test fails where CI=true, and is skipped
    elsewhere.
    """
    folder = FOLDER / package
    if not folder.is_dir():
        told = f"{package} is not in {FOLDER}: run requirements/recordings.sh (make test does)."
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    return folder


@dataclass
class Interaction:
    method: str
    path: str
    query: dict[str, list[str]]
    fields: dict[str, Any]
    reply: Reply

    def fits(self, request: Request) -> bool:
        sent = _fields(request.body)
        return (
            (self.method, self.path, self.query) == (request.method, request.path, request.query)
            and all(sent.get(name) == value for name, value in self.fields.items())
        )  # fmt: skip


def load(cassette: Path, placeholders: Mapping[str, str]) -> list[Interaction]:
    """What a cassette (JSON or YAML) holds, with `<NAME>` replaced by the placeholder's value."""
    text = cassette.read_text()
    for name, value in placeholders.items():
        text = text.replace(f"<{name}>", value)
    parsed = json.loads(text) if cassette.suffix == ".json" else yaml.load(text, yaml.CSafeLoader)
    return [_interaction(entry) for entry in parsed["interactions"]]


def _interaction(entry: Mapping[str, Any]) -> Interaction:
    asked, told = entry["request"], entry["response"]
    parts = urlsplit(asked["uri"])
    content = told["body"]["string"]
    headers = {
        name: ", ".join(values) if isinstance(values, list) else str(values)
        for name, values in told["headers"].items()
        if name.lower() not in NOT_OURS
    }
    return Interaction(
        asked["method"],
        parts.path,
        parse_qs(parts.query),
        _fields(_bytes(asked["body"])),
        Reply(int(told["status"]["code"]), headers=headers, raw=_bytes(content)),
    )


def _bytes(body: Any) -> bytes:
    body = body.get("string", "") if isinstance(body, Mapping) else body
    return body if isinstance(body, bytes) else (body or "").encode()


def _fields(body: bytes) -> dict[str, Any]:
    """The fields of a body: JSON's, or a form's. A form in parts (an upload) has none here."""
    if b"Content-Disposition" in body:
        return {}
    try:
        parsed = json.loads(body)
    except ValueError:
        return dict(parse_qs(body.decode(errors="replace"), keep_blank_values=True))
    return parsed if isinstance(parsed, dict) else {}


@dataclass
class Recorded:
    """Answers for a `Loopback`."""

    interactions: list[Interaction] = field(default_factory=list)
    unmatched: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> Reply:
        for interaction in self.interactions:
            if interaction.fits(request):
                self.interactions.remove(interaction)
                return interaction.reply
        self.unmatched.append(request)
        return Reply(418, {"message": f"{request.method} {request.path} was not recorded"})
