"""Texts for many prompts, and texts that are sent while they are drawn."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from accounts.streamed import Streamed
from accounts.tenancy import tenant
from tests.api.client import BASE, Api
from tests.factories import World, make_bot, make_version
from tests.training.fake_engine import FakeEngine
from training import artifacts, generation_api, streaming
from training.models import Generation, ModelVersion
from training.services import generations

pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")


@pytest.fixture
def version(world: World, tmp_path: Path, settings: Any) -> ModelVersion:
    """A bot's version with weights that the fake engine reads."""
    settings.VAR, settings.MEDIA_ROOT = tmp_path / "var", tmp_path / "media"
    return _stored(world, "weights")


def _stored(world: World, tokenizer: str) -> ModelVersion:
    with tenant(world.acme.pk):
        version = make_version(make_bot())
        default_storage.save(f"{version.folder}/model.safetensors", ContentFile(b"weights"))
        default_storage.save(f"{version.folder}/tokenizer.json", ContentFile(tokenizer.encode()))
        version.checksum = artifacts.sha256_of(Path(default_storage.path(f"{version.folder}/model.safetensors")))
        version.save()
    return version


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path / "engine")


def _answer(world: World, engine: FakeEngine) -> None:
    with tenant(world.acme.pk):
        generations.answer_generation(Generation.objects.earliest("created_at").pk, engine)


def _events(body: bytes) -> list[tuple[str, Any]]:
    """The events of a body, comments left out."""
    found = []
    for block in body.decode().strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def _stream(api: Api, version: ModelVersion, **more: Any) -> Any:
    body = {"bot": str(version.bot_id), "prompt": "Once ", "seed": 7, **more}
    return api.client.post(f"{BASE}generate/stream/", body, content_type="application/json")


def test_texts_are_sent_as_they_are_drawn(world: World, api: Api, version: ModelVersion, engine: FakeEngine) -> None:
    answer = _stream(api, version, n=2)
    assert (answer.status_code, answer["Content-Type"], answer["Cache-Control"]) == (
        200,
        "text/event-stream",
        "no-store",
    )
    _answer(world, engine)
    *pieces, (last, generation) = _events(b"".join(answer))
    texts = ["", ""]
    for name, piece in pieces:
        assert name == "text"
        assert len(piece["text"]) < len("Once weights 7 0")  # a piece, and not the whole
        texts[piece["index"]] = texts[piece["index"]][: piece["at"]] + piece["text"]
    assert texts == ["Once weights 7 0", "Once weights 7 1"]
    assert (last, generation["state"], [each["text"] for each in generation["samples"]]) == ("done", "done", texts)
    assert api("get", f"generate/{generation['id']}/")[1] == generation


def test_what_is_drawn_twice_reads_as_if_it_were_drawn_once(world: World, api: Api, version: ModelVersion) -> None:
    answer = _stream(api, version)
    with tenant(world.acme.pk):
        key = str(Generation.objects.get().pk)
    streaming.send(key, [], ["One tw"])
    streaming.send(key, ["One tw"], ["One two"])
    streaming.send(key, [], ["One"])  # the worker was killed, and another begins anew
    streaming.send(key, ["One"], ["One two!"])
    streaming.send(key, ["One two!"], ["One too"])  # a tokenizer takes back what it has shown
    streaming.end(key)
    text = ""
    for name, piece in _events(b"".join(answer)):
        text = text[: piece["at"]] + piece["text"] if name == "text" else text
    assert text == "One too"


def test_a_stream_without_a_worker_shows_that_it_lives_and_ends(
    world: World, api: Api, version: ModelVersion, monkeypatch: Any
) -> None:
    for name, seconds in {"LOOK": 0.02, "HEARTBEAT": 0.05, "LONGEST": 0.3}.items():
        monkeypatch.setattr(streaming, name, seconds)
    body = b"".join(_stream(api, version))
    assert body.count(b": still here") >= 2
    assert [(name, row["state"]) for name, row in _events(body)] == [("done", "queued")]


def test_lost_news_do_not_hold_a_stream_up(
    world: World, api: Api, version: ModelVersion, engine: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(streaming, "LOOK", 0.02)
    monkeypatch.setattr(streaming, "_add", lambda *news: None)
    answer = _stream(api, version)
    _answer(world, engine)
    began = time.monotonic()
    assert [(name, row["state"]) for name, row in _events(b"".join(answer))] == [("done", "done")]
    assert time.monotonic() - began < 5


def test_what_nobody_reads_is_not_sent(
    world: World, api: Api, version: ModelVersion, engine: Any, monkeypatch: Any
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(streaming, "_add", lambda key, fields: sent.append(key))
    api("post", "generate/?wait=false", {"bot": str(version.bot_id)})
    _answer(world, engine)
    assert sent == []


def test_a_failure_is_the_streams_end(world: World, api: Api, version: ModelVersion, engine: FakeEngine) -> None:
    answer = _stream(api, version, prompt="refuse me")
    _answer(world, engine)
    ((name, row),) = _events(b"".join(answer))
    assert (name, row["state"], row["error"]) == ("done", "failed", "This prompt leaves no room.")


def test_a_stream_that_cannot_be_is_refused_in_json(api: Api, version: ModelVersion) -> None:
    answer = _stream(api, version, n=65)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    headers = {"Accept": "text/event-stream"}
    refused = api.client.post(f"{BASE}generate/stream/", {"n": 1}, content_type="application/json", headers=headers)
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["bot"])


# Many prompts


def test_many_prompts_are_asked_for_at_once_and_drawn_together(
    world: World, api: Api, version: ModelVersion, engine: FakeEngine, monkeypatch: Any
) -> None:
    monkeypatch.setattr(generation_api.time, "sleep", lambda _: _answer(world, engine))
    body = {"bot": str(version.bot_id), "prompts": ["A ", "B ", ""], "n": 2, "seed": 5}
    status, rows, lines = api("post", "generate/batch/", body)
    assert (status, [row["state"] for row in rows], lines.count("generation.request")) == (200, ["done"] * 3, 3)
    assert [[each["text"] for each in row["samples"]] for row in rows] == [
        ["A weights 5 0", "A weights 5 1"],
        ["B weights 6 0", "B weights 6 1"],
        ["weights 7 0", "weights 7 1"],
    ]
    assert len(engine.samplers) == 1


def test_many_prompts_that_are_not_waited_for(api: Api, version: ModelVersion) -> None:
    status, rows, _ = api("post", "generate/batch/?wait=false", {"bot": str(version.bot_id), "prompts": ["A"] * 12})
    assert (status, {row["state"] for row in rows}, len({row["id"] for row in rows})) == (202, {"queued"}, 12)


@pytest.mark.parametrize(
    "body", [{"prompts": []}, {"prompts": ["x"] * 65}, {"prompts": ["x"] * 17, "n": 64}, {}, {"prompts": ["x" * 1001]}]
)
def test_too_many_prompts_are_refused(world: World, api: Api, version: ModelVersion, body: dict[str, Any]) -> None:
    status, answer, lines = api("post", "generate/batch/?wait=false", {"bot": str(version.bot_id)} | body)
    assert (status, list(answer["errors"]), lines) == (400, ["prompts"], [])


def test_the_same_weights_with_another_tokenizer_are_drawn_apart(
    world: World, api: Api, version: ModelVersion, engine: FakeEngine
) -> None:
    """Weights can be public: whoever uploads them with another tokenizer must not write other bots' texts."""
    alike, other = _stored(world, "weights"), _stored(world, "poisoned")
    asked = [
        api("post", "generate/?wait=false", {"bot": str(each.bot_id)})[1]["id"] for each in (other, version, alike)
    ]
    with tenant(world.acme.pk):
        generations.answer_generation(asked[0], engine)
        done = Generation.objects.filter(state="done").values_list("pk", flat=True)
        assert [str(pk) for pk in done] == asked[:1]
        generations.answer_generation(asked[1], engine)
        assert Generation.objects.filter(state="done").count() == 3


# Downloads


async def test_a_download_is_made_block_by_block() -> None:
    made: list[int] = []

    def blocks() -> Iterator[bytes]:
        for number in range(3):
            made.append(number)
            yield b"%d" % number

    seen = []
    async for block in Streamed(blocks()):
        seen.append((block, len(made)))
    assert seen == [(b"0", 1), (b"1", 2), (b"2", 3)]
