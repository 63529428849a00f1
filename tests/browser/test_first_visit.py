"""What a person sees who has just typed `make up`: one journey, told in order over one installation."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Site, Visitor, until

pytestmark = pytest.mark.browser

CHART_SECONDS = 180
HEALTH_SECONDS = 60
BOT = "Careful bot"
POST = "A lighthouse keeper reads the morning paper aloud to his cat"


def test_the_printed_link_signs_in_by_a_click(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(site.sign_in_link)
    expect(page.get_by_role("heading", level=1)).to_have_text("Welcome, Demo")
    page.get_by_role("button", name="Sign in as demo@kilroy.example").click()
    expect(page).to_have_url(f"{site.address}/o/demo/")
    expect(page.get_by_role("heading", level=3, name="Headline writer")).to_be_visible()


def test_the_link_works_once(site: Site, visitor: Visitor) -> None:
    with visitor.context.browser.new_context() as stranger:
        page = stranger.new_page()
        page.goto(site.sign_in_link)
        expect(page.get_by_text("This sign-in link was used already")).to_be_visible()
        page.goto(f"{site.address}/o/demo/")
        expect(page).to_have_url(f"{site.address}/sign-in/?next=/o/demo/")


def test_the_demos_charts_move_without_a_reload(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{site.address}/o/demo/")
    page.get_by_role("link", name="Headline writer", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Headline writer")
    expect(page.get_by_text("Simulated audience").first).to_be_visible()
    expect(page.get_by_role("link", name="Top posts of sixteen communities")).to_be_visible()
    expect(page.locator("[data-live-status]")).to_have_text("Live")
    loss = page.locator("[data-chart=loss]")
    loss.get_by_role("button", name="Fine-tuning: Table").click()
    newest = loss.locator("tbody tr:first-child th")
    newest.wait_for(timeout=CHART_SECONDS * 1000)
    first = int(newest.inner_text())
    page.evaluate("window.neverReloaded = true")
    visitor.frames.clear()
    until(
        lambda: int(newest.inner_text()) > first, CHART_SECONDS, "a newer point in the chart of the loss", visitor.page
    )
    shown = int(newest.inner_text())
    messages = [json.loads(frame) for frame in visitor.frames]
    events = [event["data"] for message in messages for event in message.get("events", ())]
    told = {step for event in events if event["type"] == "metrics" for name, step, _ in event["points"]}
    assert shown in told
    assert page.evaluate("window.neverReloaded") is True
    loss.get_by_role("button", name="Fine-tuning: Chart").click()
    expect(loss.locator("canvas")).to_be_visible()


def test_a_person_approves_a_post(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{site.address}/o/demo/")
    page.get_by_role("link", name="New bot").click()
    page.get_by_label("Name").fill(BOT)
    page.get_by_label("Where it speaks").select_option(label="New: Sandbox")
    page.get_by_label("A person approves every post").check()
    page.get_by_role("button", name="Make the bot").click()
    expect(page.get_by_text(f"{BOT} is here.")).to_be_visible()

    page.get_by_role("link", name="Posts", exact=True).click()
    page.get_by_label("Text", exact=True).fill(POST)
    page.get_by_role("button", name="Add post").click()
    card = page.locator(".post-card", has_text=POST)
    expect(card.locator(".pill")).to_have_text("Waiting for review")

    page.evaluate("window.neverReloaded = true")
    card.get_by_role("button", name="Approve").click()
    expect(card.locator(".pill")).to_have_text("Approved")
    assert page.evaluate("window.neverReloaded") is True
    card.get_by_role("link", name="Why this post?").click()
    expect(page.get_by_text("by demo@kilroy.example").first).to_be_visible()


def test_every_page_of_a_bot_opens(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{site.address}/o/demo/")
    page.get_by_role("link", name="Headline writer", exact=True).click()
    tabs = page.get_by_role("navigation", name="Headline writer", exact=True)
    names = tabs.get_by_role("link").all_inner_texts()
    assert names == ["Overview", "Posts", "Replies", "Training", "Models", "Reward", "Data", "Settings"]
    for name in names:
        tab = tabs.get_by_role("link", name=name, exact=True).first
        tab.click()
        expect(tab).to_have_attribute("aria-current", "page")
        expect(page.get_by_role("heading", level=1)).to_have_count(1)


def test_every_page_fits_a_telephone(site: Site, visitor: Visitor) -> None:
    """From the bot's overview, one page of each kind that links lead to within the organization."""
    page = visitor.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{site.address}/o/demo/")
    page.get_by_role("link", name="Headline writer", exact=True).click()
    overview = urlsplit(page.url).path
    # The link to writing ahead is replaced by its form as soon as that has come.
    waiting, opened, wide = [overview, f"{overview}write-ahead/"], set[str](), []
    while waiting:
        path = waiting.pop()
        kind = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "*", path)
        if kind in opened:
            continue
        opened.add(kind)
        answer = page.goto(site.address + path)
        assert answer, path
        assert answer.ok, path
        if page.evaluate("document.scrollingElement.scrollWidth > innerWidth"):
            wide.append(path)
        links = "a[href^='/o/demo/']:not([download])"
        waiting += page.eval_on_selector_all(links, "links => links.map(link => link.pathname)")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert wide == []
    new = {"replies/rules/", "queue/", "write-ahead/", "harvests/", "retraining/"}
    assert {f"/o/demo/bots/*/{name}" for name in new} < opened
    assert {"/o/demo/needs-human/", "/o/demo/connections/new/x/", "/o/demo/connections/*/"} < opened


def test_nothing_went_wrong_in_the_browser(visitor: Visitor) -> None:
    """Neither an error nor a word of the content security policy, on any page that was opened so far."""
    assert visitor.troubles == []


def test_everything_is_healthy(site: Site, visitor: Visitor) -> None:
    told = {}

    def healthy() -> bool:
        told.update(json.loads(site.manage("status", "--json").stdout))
        return told["healthy"]

    until(healthy, HEALTH_SECONDS, "a healthy status", visitor.page)
    assert [process["name"] for process in told["processes"]] == [
        *("supervisor", "postgres", "redis", "web", "io", "training", "beat")
    ]
    assert told["address"] == site.address


def test_ctrl_c_stops_every_child(site: Site) -> None:
    family = psutil.Process(site.process.pid).children(recursive=True)
    assert len(family) > 6
    assert site.stop() == (0, "")
    assert [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
