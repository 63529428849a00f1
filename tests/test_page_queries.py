"""Every page takes few queries, and a list takes no more of them for many rows than for few."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.tenancy import tenant
from tests.bench.bench_pages import MOST_QUERIES
from tests.browser.gallery import Gallery, make_gallery
from tests.browser.serving import signed_in
from tests.factories import make_dataset, make_post, make_round, make_run
from tests.routes import PAGES, ids_of


@pytest.fixture
def gallery(db: None, tmp_path: Path, settings: Any) -> Gallery:
    settings.MEDIA_ROOT = tmp_path
    return make_gallery()


def _queries(client: Client, address: str) -> int | None:
    """How many a second look takes; None for what is no page."""
    client.get(address)
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(address)
    return len(captured) if answer.status_code == 200 and not answer.streaming else None


def test_every_page_takes_few_queries(gallery: Gallery, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)  # addresses that are only posted to
    client = signed_in(gallery.owner)
    slug = gallery.full.slug
    found = {route.pattern: _queries(client, route.url(slug, ids_of(gallery.made, route))) for route in PAGES}
    counts = {name: count for name, count in found.items() if count}
    assert len(counts) > 50
    assert {name: count for name, count in counts.items() if count > MOST_QUERIES} == {}


def test_lists_take_no_more_queries_for_more_rows(gallery: Gallery) -> None:
    client, bot = signed_in(gallery.owner), gallery.made.bot
    pages = [f"/o/{gallery.full.slug}/bots/{bot.pk}/{page}/" for page in ("runs", "posts", "datasets", "models")]
    before = [_queries(client, page) for page in pages]
    with tenant(gallery.full.pk):
        for number in range(3):
            dataset = make_dataset(bot, examples=1, name=f"More of it, {number}")
            make_run(bot, dataset=dataset, state="finished")
            ended = make_run(bot, "online", state="finished")
            make_round(ended, 4 + number, metrics={"lift": -0.25})
            make_post(bot)
    assert [_queries(client, page) for page in pages] == before
    assert "round 6, lift -0.25 sd" in client.get(pages[0]).content.decode()
