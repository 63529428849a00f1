"""A person with posts of their own: from a file to a fine-tuned bot, from an account to the first live post, and back
from a version that turned out bad. One journey over one installation without the demo.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Site, Visitor
from tests.faces.loopback import Loopback, serve
from tests.faces.mastodon.fake import FakeMastodon

pytestmark = pytest.mark.browser

BOT, HERALD, DATASET = "Harbour news", "Harbour herald", "Harbour posts"
TRAINING = 240_000
"""Milliseconds for a short fine-tuning on two cores that others use too."""
PUBLISHED = 60_000
POST = "The ferry is late again, and the gulls have filed a complaint."


@pytest.fixture(scope="module")
def instance() -> FakeMastodon:
    return FakeMastodon()


@pytest.fixture(scope="module")
def platform(instance: FakeMastodon) -> Iterator[Loopback]:
    with serve() as loopback:
        loopback.answer = instance.answer
        yield loopback


@pytest.fixture(scope="module")
def surroundings(platform: Loopback) -> dict[str, str]:
    return {"KILROY_DEMO": "no", "KILROY_OUTBOUND_ALLOW": f"127.0.0.1:{platform.port}"}


@pytest.fixture
def home(site: Site) -> str:
    return f"{site.address}/o/harbour-press/"


def _own_posts(folder: Path) -> Path:
    chance = random.Random(11)
    who = ("The ferry", "A gull", "The lighthouse", "Our mayor", "The night bus", "A fisherman", "The fog")
    what = ("is late again", "wants a raise", "reads the paper aloud", "has lost its hat", "votes for Tuesday")
    how = ("and nobody minds", "while it rains", "to general applause", "as every week", "near pier {}")
    rows = ["text,likes"]
    for number in range(160):
        text = " ".join(chance.choice(words) for words in (who, what, how)).format(number)
        rows.append(f'"{text}, says report {number}.",{chance.randrange(40)}')
    path = folder / "posts.csv"
    path.write_text("\n".join(rows))
    return path


def test_own_posts_make_a_fine_tuned_bot(site: Site, visitor: Visitor, home: str, tmp_path: Path) -> None:
    page = visitor.page
    made = site.manage("create_organization", "Harbour Press", "mara@kilroy.example")
    page.goto(made.stdout.split(": ", 1)[1].strip())
    page.get_by_role("button", name=re.compile("^Sign in as")).click()
    expect(page).to_have_url(home)

    page.goto(f"{home}bots/new/")
    page.get_by_label("Name").fill(BOT)
    page.get_by_label("Where it speaks").select_option(label="New: Sandbox")
    page.get_by_role("button", name="Make the bot").click()
    expect(page.get_by_text(f"{BOT} is here.")).to_be_visible()
    overview = _overview(page)

    page.goto(f"{overview}datasets/upload/")
    page.get_by_label("File", exact=True).set_input_files(_own_posts(tmp_path))
    page.get_by_label("Name").fill(DATASET)
    page.get_by_label("Source").fill("Our own account")
    page.get_by_label("Licence").fill("Our own words")
    page.get_by_label("A model may learn from these posts").check()
    page.get_by_role("button", name="Look at the file").click()
    expect(page.get_by_text("The file is fine.")).to_be_visible()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(DATASET)
    expect(page.get_by_role("button", name="Delete").first).to_be_visible()  # not while it is being imported

    _fine_tune(page, overview)
    page.goto(f"{overview}models/")
    expect(_current(page).get_by_role("heading")).to_contain_text("v1")


def _overview(page: Page) -> str:
    """The address of the bot that the page is about."""
    found = re.match(r".*/bots/[0-9a-f-]{36}/", page.url)
    assert found, page.url
    return found.group()


def _fine_tune(page: Page, overview: str) -> None:
    """A short run, watched until it has finished, without a reload."""
    page.goto(f"{overview}runs/")
    page.get_by_label("Fine-tuning", exact=True).check()
    page.get_by_label(DATASET).check()
    page.get_by_text("Settings of fine-tuning").click()
    page.get_by_label("Epochs").fill("1")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Fine-tuning")
    page.evaluate("window.neverReloaded = true")
    expect(page.locator("[data-live-status]")).to_have_text("Live")
    expect(page.locator(".pill", has_text="Finished")).to_be_visible(timeout=TRAINING)
    assert page.evaluate("window.neverReloaded") is True


def _current(page: Page) -> Locator:
    """The version that the bot speaks with, in the list of its models."""
    return page.get_by_role("listitem").filter(has=page.locator(".pill", has_text="Speaking now"))


def test_a_version_that_turned_out_bad_is_rolled_back(visitor: Visitor, home: str) -> None:
    page = visitor.page
    page.goto(home)
    page.get_by_role("link", name=BOT).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(BOT)
    overview = _overview(page)
    _fine_tune(page, overview)
    page.goto(f"{overview}models/")
    expect(_current(page).get_by_role("heading")).to_contain_text("v2")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("link", name="v1", exact=True).click()
    page.get_by_label("Why").fill("It lost its dry tone.")
    page.get_by_role("button", name="Roll back to v1").click()
    page.goto(f"{overview}models/")
    expect(_current(page).get_by_role("heading")).to_contain_text("v1")
    expect(page.get_by_text("It lost its dry tone.")).to_be_visible()


def test_an_account_is_connected_and_the_first_post_is_live(
    visitor: Visitor, home: str, platform: Loopback, instance: FakeMastodon
) -> None:
    page, token = visitor.page, instance.add_account("harbour")
    page.goto(f"{home}connections/new/mastodon/")
    page.get_by_label("Name").fill("Harbour on Mastodon")
    page.get_by_label("Instance").fill(platform.url)
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("Connected as @harbour@127.0.0.1")).to_be_visible()

    page.goto(f"{home}bots/new/")
    page.get_by_label("Name").fill(HERALD)
    page.get_by_label("Where it speaks").select_option(label="Harbour on Mastodon")
    page.get_by_role("button", name="Make the bot").click()
    page.get_by_role("link", name="Posts", exact=True).first.click()
    page.get_by_label("Text", exact=True).fill(POST)
    page.get_by_role("button", name="Add post").click()
    card = page.locator(".post-card", has_text=POST)
    card.get_by_role("button", name="Approve").click()
    expect(card.locator(".pill").first).to_have_text("Approved")
    page.evaluate("window.neverReloaded = true")
    card.get_by_role("button", name="Publish now").click()
    expect(card.locator(".pill").first).to_have_text("Published", timeout=PUBLISHED)
    assert page.evaluate("window.neverReloaded") is True
    assert [status["sent"] for status in instance.statuses] == [POST]


def test_nothing_went_wrong_in_the_browser(visitor: Visitor) -> None:
    assert visitor.troubles == []
