"""The playground in a browser: texts grow while they are written, tokens say their probability, nothing is blocked."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from playwright.sync_api import expect, sync_playwright

from accounts.tenancy import tenant
from tests.browser.axe import violations
from tests.browser.conftest import REPORT_VIOLATIONS, launch
from tests.browser.serving import PATIENCE, cookies, served, signed_in
from tests.factories import make_bot, make_organization, make_user, make_version
from tests.training.fake_engine import FakeEngine
from training import artifacts, streaming
from training.models import Generation, ModelVersion
from training.services import generations

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def _version() -> ModelVersion:
    """A speaking version whose weights the fake engine reads."""
    version = make_version(make_bot(name="Harbour"))
    default_storage.save(f"{version.folder}/model.safetensors", ContentFile(b"weights"))
    version.checksum = artifacts.sha256_of(Path(default_storage.path(f"{version.folder}/model.safetensors")))
    version.save()
    return version


def test_texts_grow_and_tokens_can_be_read(tmp_path: Path, settings: Any) -> None:
    settings.VAR, settings.MEDIA_ROOT = tmp_path / "var", tmp_path / "media"
    owner = make_user("alice@kilroy.example")
    organization = make_organization("Acme", owner)
    with tenant(organization.pk):
        version = _version()
    client, seen = signed_in(owner), threading.Event()
    engine = FakeEngine(tmp_path, before_token=lambda step: step < 3 or seen.wait(PATIENCE))

    def answer() -> None:
        with tenant(organization.pk):
            generation = Generation.objects.get()
            deadline = time.monotonic() + PATIENCE
            while not streaming.watched([str(generation.pk)]) and time.monotonic() < deadline:
                time.sleep(0.05)
            generations.answer_generation(generation.pk, engine)
        connection.close()

    connection.close()
    with served() as address, sync_playwright() as playwright, launch(playwright) as browser:
        context = browser.new_context(viewport={"width": 390, "height": 844})
        context.set_default_timeout(30_000)
        context.add_init_script(REPORT_VIOLATIONS)
        context.add_cookies(cookies(client, address))
        page, troubles = context.new_page(), []
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(f"{address}/o/acme/bots/{version.bot_id}/playground/")
        page.get_by_label("Prompt").fill("Why <b>? ")
        page.get_by_role("spinbutton", name="Texts").fill("1")
        page.get_by_label("Let the critics judge").uncheck()
        page.get_by_role("button", name="Write").click()
        worker = threading.Thread(target=answer)
        worker.start()
        growing = page.locator("[data-index='0']")
        expect(growing).to_contain_text("Why <b>? Why <b>? weights")
        expect(page.locator(".token[data-says]")).to_have_count(0)
        seen.set()
        expect(page.locator(".tokens .token")).to_have_count(3)
        worker.join(PATIENCE)
        page.locator(".tokens").focus()
        page.keyboard.press("End")
        expect(page.locator("[data-reading-of]")).to_contain_text("100.0 %, token 3 of 3")
        assert page.locator("[data-here]").count() == 1
        assert violations(page) == []
        assert not page.evaluate("document.scrollingElement.scrollWidth > innerWidth")
        assert troubles == []
