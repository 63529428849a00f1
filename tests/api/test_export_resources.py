"""Exports and imports over the API."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import Client

from accounts import export_archive, exporting
from accounts.models import Export, Membership
from accounts.tenancy import tenant
from accounts.tokens import create_token
from tests.api.client import Api
from tests.factories import World, client_of, make_bot

IMPORTS = "/api/v1/imports/"


@pytest.fixture(autouse=True)
def _places(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MEDIA_ROOT, settings.VAR = tmp_path / "media", tmp_path
    monkeypatch.setattr(export_archive, "_one_moment", transaction.atomic)  # a test has begun its own already


def _make(api: Api, pk: str) -> None:
    with tenant(api.world.acme.pk):
        exporting.make_export(pk)


def test_an_export_from_the_request_to_its_end(api: Api) -> None:
    with tenant(api.world.acme.pk):
        make_bot(name="Writer")
    status, asked, lines = api("post", "exports/")
    assert (status, asked["state"], asked["download_url"], lines) == (201, "queued", "", ["export.request"])
    assert asked["requested_by"] == "alice@kilroy.example"
    status, told, _ = api("post", "exports/")
    assert (status, "being made already" in told["detail"]) == (400, True)
    _make(api, asked["id"])
    status, made, _ = api("get", f"exports/{asked['id']}/")
    assert (status, made["state"], made["rows"]["bots.Bot"], made["error"]) == (200, "ready", 1, "")
    assert made["download_url"].startswith("http")
    assert [each["id"] for each in api("get", "exports/")[1]["results"]] == [asked["id"]]
    path = "/" + made["download_url"].split("/", 3)[3]
    assert len(b"".join(Client().get(path).streaming_content)) == made["size"]
    assert api("delete", f"exports/{asked['id']}/")[::2] == (204, ["export.delete"])
    assert api("get", f"exports/{asked['id']}/")[0] == 404
    assert Client().get(path).status_code == 404


def test_exports_are_for_owners(api: Api) -> None:
    api("post", "exports/")
    base = "/api/v1/organizations/acme/exports/"
    with tenant(api.world.acme.pk):
        pk = Export.objects.get().pk
    for method, path in (("get", base), ("post", base), ("get", f"{base}{pk}/"), ("delete", f"{base}{pk}/")):
        assert getattr(client_of(api.world.bob), method)(path).status_code == 403
        assert getattr(client_of(api.world.charlie), method)(path).status_code == 404


def test_an_export_comes_in_again(api: Api) -> None:
    with tenant(api.world.acme.pk):
        make_bot(name="Writer")
    asked = api("post", "exports/")[1]["id"]
    _make(api, asked)
    path = "/" + api("get", f"exports/{asked}/")[1]["download_url"].split("/", 3)[3]
    archive = b"".join(Client().get(path).streaming_content)
    charlie = client_of(api.world.charlie)
    answer = charlie.post(IMPORTS, {"file": io.BytesIO(archive), "slug": "copy"})
    assert answer.status_code == 201
    told = answer.json()
    assert (told["name"], told["slug"], told["rows"]["bots.Bot"]) == ("Acme", "copy", 1)
    assert {"email": "bob@kilroy.example", "role": "viewer"} in told["members"]
    assert charlie.get("/api/v1/organizations/copy/bots/").json()["results"][0]["name"] == "Writer"
    refused = charlie.post(IMPORTS, {"file": SimpleUploadedFile("x.zip", b"no zip")})
    assert (refused.status_code, "is damaged" in refused.json()["detail"]) == (400, True)
    assert charlie.post(IMPORTS, {"file": io.BytesIO(archive), "slug": "copy"}).status_code == 400


def test_a_token_imports_nothing(world: World) -> None:
    with tenant(world.acme.pk):
        _, token = create_token(Membership.objects.get(user=world.alice), "A program")
    answer = Client().post(
        IMPORTS, {"file": SimpleUploadedFile("x.zip", b"x")}, headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 403
    assert Client().post(IMPORTS, {}).status_code == 401
