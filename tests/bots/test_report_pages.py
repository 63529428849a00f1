"""The public page of reports, and members' reports on their own posts."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.tenancy import tenant
from bots import report_views
from bots.models import Report
from tests.factories import World, client_of, make_bot, make_post

ADDRESS = "https://fake.example/@bot/1"
SAID = {"category": "spam", "text": "Everywhere", "email": ""}


@pytest.fixture
def post(world: World) -> Any:
    with tenant(world.acme.pk):
        yield make_post(make_bot(), "published", remote_url=ADDRESS)


def test_the_answer_is_the_same_whether_the_post_is_ours_or_not(post: Any) -> None:
    pages = [
        Client().post("/report/", SAID | {"address": address}, REMOTE_ADDR="192.0.2.1")
        for address in (ADDRESS, "https://elsewhere.example/1")
    ]
    without_token = {page.content.split(b"<main")[1] for page in pages}
    assert ({page.status_code for page in pages}, len(without_token)) == ({200}, 1)
    assert Report.objects.get().post == post


def test_one_address_reports_only_so_often(post: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_views, "REPORTS_A_MINUTE", 2)

    def ask(sender: str) -> Any:
        return Client().post("/report/", SAID | {"address": ADDRESS}, REMOTE_ADDR=sender)

    answers = [ask("192.0.2.77") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["Retry-After"]) > 0
    assert (ask("192.0.2.78").status_code, Report.objects.count()) == (200, 3)


def test_what_is_no_link_is_said_by_the_field(post: Any) -> None:
    answer = Client().post("/report/", SAID | {"address": "not a link"})
    assert (answer.status_code, b"id_address_error" in answer.content or b"errorlist" in answer.content) == (400, True)


def test_a_member_reports_a_post_by_page_and_api(world: World, post: Any) -> None:
    bob = client_of(world.bob)
    page = f"/o/acme/bots/{post.bot_id}/posts/{post.pk}/report/"
    assert "will look at it" in bob.post(page, SAID, follow=True).content.decode()
    answer = bob.post(f"/api/v1/organizations/acme/posts/{post.pk}/report/", {"category": "hate"})
    assert answer.status_code == 204
    assert set(Report.objects.values_list("category", "reporter_email")) == {
        ("spam", "bob@kilroy.example"),
        ("hate", "bob@kilroy.example"),
    }
    assert client_of(world.charlie).post(page, SAID).status_code == 404
