"""The bot's token is in every address that is asked, and in nothing that anybody reads."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from faces.contract import FaceError, OutgoingImage, OutgoingPost
from faces.http import Api
from faces.kinds.telegram.face import TelegramFace
from tests.faces.loopback import Loopback, Reply
from tests.faces.telegram.fake import CHANNEL, TOKEN, FakeTelegram, refusal, too_many
from tests.factories import PNG

SECRET = TOKEN.partition(":")[2]
IMAGE = OutgoingImage(PNG, "image/png", "A red pixel")
ONE = f"{CHANNEL}:1:1"
VERBS: list[Callable[[TelegramFace], Any]] = [
    lambda face: face.verify(),
    lambda face: face.publish(OutgoingPost("Hello"), "key"),
    lambda face: face.publish(OutgoingPost("Hello", (IMAGE, IMAGE)), "key"),
    lambda face: face.delete(ONE),
    lambda face: face.metrics([ONE]),
    lambda face: face.history(None),
    lambda face: face.inbox(None),
    lambda face: face.look_up(ONE),
]
REPLIES = [
    Reply(500, raw=b"oops"),
    Reply(cut=True),
    Reply(raw=b"<html>Maintenance</html>"),
    Reply(data={"ok": True, "result": None}),
    Reply(data=[]),
    Reply(302, headers={"Location": f"https://elsewhere.example/bot{TOKEN}/getMe"}),
    Reply(200, raw=b"x", headers={"Content-Encoding": "gzip"}),
    Reply(404, {"ok": False, "description": "Not Found"}),
    refusal(400, f"Bad Request: /bot{TOKEN}/sendMessage is odd"),
    refusal(401, "Unauthorized"),
    refusal(403, "Forbidden: bot was kicked from the channel chat"),
    refusal(409, "Conflict: terminated by other getUpdates request"),
    too_many(3600),
]


def everything_said(error: BaseException) -> str:
    """An error with all that hangs on it."""
    seen: set[int] = set()
    queue, said = [error], ""
    while queue:
        at = queue.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        said += repr(at) + repr(at.args) + repr(vars(at)) + "".join(traceback.format_exception(at))
        queue += [found for found in (at.__cause__, at.__context__) if found]
    return said


def shout(face: TelegramFace, caplog: pytest.LogCaptureFixture) -> str:
    """What every verb says when it fails, and the whole log."""
    said = ""
    for verb in VERBS:
        try:
            said += repr(verb(face))
        except FaceError as error:
            said += everything_said(error)
    return said + caplog.text + "".join(repr(record.__dict__) for record in caplog.records)


def test_no_refusal_tells_the_token(face: TelegramFace, server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for reply in REPLIES:
        server.requests.clear()
        server.answer = lambda request, reply=reply: reply
        said = shout(face, caplog)
        assert len(server.requests) >= len(VERBS)
        assert all(SECRET in request.path for request in server.requests)
        assert "FaceError" in said or "TelegramError" in said
        assert SECRET not in said, reply


def test_no_failure_to_connect_tells_the_token(
    face: TelegramFace, server: Loopback, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for base in (
        "http://127.0.0.1:9",
        f"https://127.0.0.1:{server.port}",
        "https://name.invalid",
        "nonsense",
        "http://[",
    ):
        settings.API_BASES = {"telegram": base}
        settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port), ("127.0.0.1", 9)})
        said = shout(TelegramFace(face.connection), caplog)
        assert "FaceError" in said, base
        assert SECRET not in said, base
    assert server.requests == []


def test_an_unforeseen_failure_does_not_tell_the_token(face: TelegramFace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(api: Api, method: str, path: str, **how: Any) -> None:
        raise RuntimeError(f"{api.base}{path}")

    monkeypatch.setattr(Api, "_request", fail)
    with pytest.raises(FaceError, match="RuntimeError") as caught:
        face.publish(OutgoingPost("Hello"), "key")
    assert caught.value.sent  # what left is not known
    assert SECRET not in everything_said(caught.value)


def test_headers_that_cannot_be_read_do_not_put_the_token_in_the_log(
    face: TelegramFace, telegram: FakeTelegram, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert face.verify().ok
    logging.getLogger("urllib3.connectionpool").warning("Failed to parse headers (url=%s)", f"/bot{TOKEN}/getMe")
    assert "/bot…/getMe" in caplog.text
    assert SECRET not in caplog.text
