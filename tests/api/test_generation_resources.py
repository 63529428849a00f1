"""Texts asked for over the API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from accounts.tenancy import tenant
from tests.api.client import Api
from tests.everything import Everything
from tests.factories import World, make_generation
from training import generation_api as training_api
from training.models import Generation


def test_a_request_that_does_not_wait_is_answered_with_its_address(made: Everything, api: Api) -> None:
    status, body, lines = api("post", "generate/?wait=false", {"bot": str(made.bot.pk), "prompt": "TIL ", "n": 3})
    assert (status, body["state"], body["samples"], lines) == (202, "queued", [], ["generation.request"])
    assert (body["prompt"], body["count"], body["version"]) == ("TIL ", 3, str(made.version.pk))
    assert api("get", f"generate/{body['id']}/")[1] == body


def test_a_request_waits_for_the_worker(world: World, made: Everything, api: Api, monkeypatch: Any) -> None:
    def answer(_: float) -> None:
        Generation.objects.filter(state="queued").update(state="done", samples=[{"text": "A new text"}])

    monkeypatch.setattr(training_api.time, "sleep", answer)
    status, body, _ = api("post", "generate/", {"bot": str(made.bot.pk)})
    assert (status, body["state"], body["samples"]) == (200, "done", [{"text": "A new text"}])


def test_a_worker_that_does_not_come_is_not_waited_for_forever(made: Everything, api: Api, monkeypatch: Any) -> None:
    monkeypatch.setattr(training_api, "WAIT_SECONDS", 0.05)
    status, body, _ = api("post", "generate/", {"bot": str(made.bot.pk)})
    assert (status, body["state"]) == (202, "queued")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"n": 0}, "n"),
        ({"n": 65}, "n"),
        ({"n": "many"}, "n"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": 1e-300}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"temperature": "inf"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"prompt": "x" * 1001}, "prompt"),
        ({"prompt": "a\0b"}, "prompt"),
        ({"prompt": ["x"]}, "prompt"),
    ],
)
def test_a_request_that_cannot_be_is_refused(made: Everything, api: Api, change: dict[str, Any], field: str) -> None:
    status, body, lines = api("post", "generate/?wait=false", {"bot": str(made.bot.pk)} | change)
    assert (status, list(body["errors"]), lines) == (400, [field], [])


def test_a_bot_without_a_model_says_so(bot: Any, api: Api) -> None:
    status, body, _ = api("post", "generate/?wait=false", {"bot": str(bot.pk)})
    assert (status, "fine-tune one first" in body["detail"]) == (400, True)


def test_another_bots_version_cannot_speak_for_it(world: World, made: Everything, bot: Any, api: Api) -> None:
    body = {"bot": str(bot.pk), "version": str(made.version.pk)}
    status, answer, _ = api("post", "generate/?wait=false", body)
    assert (status, list(answer["errors"])) == (400, ["version"])


def test_old_generations_are_listed(world: World, made: Everything, api: Api) -> None:
    with tenant(world.acme.pk):
        done = make_generation(made.bot, version=made.version, state="done", samples=[{"text": "x"}])
    rows = api("get", "generate/")[1]["results"]
    assert json.dumps(rows[0]["samples"]) == '[{"text": "x"}]'
    assert rows[0]["id"] == str(done.pk)
