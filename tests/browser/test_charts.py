"""Charts of a run in a real browser: zoom, smoothing, a run beside, and numbers that come while one looks."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Page, expect, sync_playwright

from accounts.tenancy import tenant
from tests.browser.axe import violations
from tests.browser.conftest import REPORT_VIOLATIONS, launch
from tests.browser.serving import cookies, served, signed_in
from tests.factories import make_bot, make_run, make_world
from training.models import Run
from training.services.telemetry import Recorder

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
STEPS = 3000


def measured(run: Run, level: float) -> Run:
    with Recorder(run) as recorder:
        recorder._points = [("loss", step, level + math.exp(-step / 500)) for step in range(STEPS)]
        recorder._points += [("heldout_loss", step, level + 0.5) for step in range(0, STEPS, 500)]
    return run


@pytest.fixture
def watched() -> Iterator[tuple[Page, Run, Run, list[str]]]:
    """The page of a living run, another run of the bot, and what went wrong in the browser."""
    world = make_world()
    troubles: list[str] = []
    with tenant(world.acme.pk):
        bot = make_bot()
        other = measured(make_run(bot, state="finished"), 3.0)
        run = measured(make_run(bot, state="running"), 2.0)
    client = signed_in(world.alice)
    connection.close()
    with served() as address, sync_playwright() as playwright, launch(playwright) as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.add_cookies(cookies(client, address))
        context.add_init_script(REPORT_VIOLATIONS)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(f"{address}/o/acme/bots/{bot.pk}/runs/{run.pk}/")
        yield page, run, other, troubles


def measure_one_more(run: Run) -> None:
    """In a thread of its own: Playwright's has a loop, in which the database may not be asked."""
    with tenant(run.organization_id), Recorder(run) as recorder:
        recorder.on_step(STEPS + 5, {"loss": 1.25})
    connection.close()


def steps_of(answer: Any) -> list[int]:
    return [step for step, _ in answer.value.json()["runs"][0]["metrics"]["loss"]]


def asks(page: Page, *words: str) -> Any:
    return page.expect_response(lambda answer: "/series/" in answer.url and all(word in answer.url for word in words))


def test_a_person_zooms_smooths_and_lays_a_run_beside(watched: tuple[Page, Run, Run, list[str]]) -> None:
    page, run, other, troubles = watched
    loss = page.locator("[data-chart=loss]")
    loss.locator("canvas").wait_for()
    expect(page.locator("[data-zoom-range]")).to_have_text("all steps")

    loss.scroll_into_view_if_needed()
    box = loss.locator(".u-over").bounding_box()
    assert box
    with asks(page, "after=") as dragged:
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 50, steps=4)
        page.mouse.up()
    steps = steps_of(dragged)
    assert steps == list(range(steps[0], steps[-1] + 1))  # finer than the whole: each of them
    assert 1490 < steps[0] < 1510
    assert 1790 < steps[-1] < 1810
    expect(page.locator("[data-zoom-range]")).to_contain_text("steps 1")
    with asks(page, "after="):
        page.get_by_role("button", name="Zoom in").press("Enter")
    with asks(page) as whole:
        page.get_by_role("button", name="Whole run").press("Enter")
    assert "after=" not in whole.value.url
    expect(page.locator("[data-zoom-range]")).to_have_text("all steps")

    slider = page.get_by_label("Smoothing")
    slider.focus()
    with asks(page, "smooth=8"):
        for _ in range(3):
            page.keyboard.press("ArrowRight")
    expect(page.locator("[data-smooth-words]")).to_have_text("mean over 8 steps")
    with asks(page):
        page.keyboard.press("Home")

    page.get_by_text("Other runs beside it").click()
    with asks(page, f"run={other.pk}"):
        page.locator(f"input[value='{other.pk}']").check()
    expect(page.locator("[data-run-keys] li")).to_have_count(2)
    loss.get_by_role("button", name="Loss: Table").click()
    expect(loss.locator("thead th")).to_have_count(6)

    worker = threading.Thread(target=measure_one_more, args=(run,))
    worker.start()
    newest = loss.locator("tbody tr:first-child")
    expect(newest.locator("th")).to_have_text(str(STEPS + 5))
    expect(newest.locator("td").first).to_have_text("1.25")
    worker.join()
    assert violations(page) == []

    address = page.url.split("/runs/")[0]
    with asks(page, f"run={other.pk}"):
        page.goto(f"{address}/runs/compare/?run={run.pk}&run={other.pk}")
    page.get_by_label("Smoothing").focus()
    with asks(page, "smooth=", f"run={other.pk}"):
        page.keyboard.press("ArrowRight")
    expect(page.locator("[data-run-keys] li")).to_have_count(2)
    assert troubles == []
