"""The pages of the audit log and of usage, and the operator's choice of a plan."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import audit_log, quotas
from accounts.audit_log import Change
from accounts.models import AuditEntry, Consumption, Organization
from accounts.tenancy import tenant
from bots.services.bots import change_bot, pause_bot
from tests.accounts.test_pages import trouble_of
from tests.everything import Everything, make_everything
from tests.factories import World, client_of, make_bot, make_user

AUDIT, USAGE = "/o/acme/settings/audit/", "/o/acme/settings/usage/"


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


@pytest.fixture
def made(world: World) -> Everything:
    with tenant(world.acme.pk):
        return make_everything()


def shown(client: Client, url: str) -> str:
    answer = client.get(url)
    assert (answer.status_code, trouble_of(answer)) == (200, []), url
    return str(answer.content.decode())


# Audit


def test_the_page_says_who_did_what_and_what_changed(world: World, made: Everything, alice: Client) -> None:
    alice.post(f"/o/acme/bots/{made.bot.pk}/pause/", {"reason": "too <b>loud</b>"})
    page = shown(alice, AUDIT)
    assert f'<a href="/o/acme/bots/{made.bot.pk}/">bot</a>' in page
    assert "bot.pause" in page
    assert "by alice@kilroy.example" in page
    assert "too &lt;b&gt;loud&lt;/b&gt;" in page


def test_the_page_is_walked_both_ways(world: World, alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        for number in range(12):
            change_bot(bot, description=f"number-{number}")
        found = audit_log.entries(action="bot")
        seen, cursor = [], None
        pages = []
        while True:
            page = audit_log.page(found, cursor, size=5)
            pages.append(page)
            seen += [line.after["description"] for line in page.rows]
            if page.older is None:
                break
            cursor = audit_log.parsed_cursor(str(page.older))
        assert seen == [f"number-{number}" for number in range(11, -1, -1)]
        assert [page.newer is None for page in pages] == [True, False, False]
        assert pages[2].newer is not None
        back = audit_log.page(found, pages[2].newer, size=5)
        assert back.rows == pages[1].rows
        assert back.newer is not None
        assert audit_log.page(found, back.newer, size=5) == pages[0]


def test_links_lead_to_further_pages_with_the_filter(world: World, alice: Client) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        for number in range(60):
            change_bot(bot, description=f"number-{number:02}")
    page = shown(alice, f"{AUDIT}?action=bot.change")
    assert ("number-59" in page, "number-08" in page) == (True, False)
    older = page.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert "action=bot.change" in older
    further = shown(alice, AUDIT + older)
    assert ("number-00" in further, 'rel="prev"' in further) == (True, True)


def test_the_page_is_narrowed_and_damaged_addresses_are_told(world: World, made: Everything, alice: Client) -> None:
    today = timezone.now().date()
    assert "membership.create" in shown(alice, f"{AUDIT}?since={today}&until={today}&action=membership")
    assert "No line is like that" in shown(alice, f"{AUDIT}?since={today + timedelta(days=1)}")
    assert "No line is like that" in shown(alice, f"{AUDIT}?actor=nobody&about=bot")
    for page in ("x", "older~x~1", "older~2026-01-01~1", "sideways~2026-01-01T00:00:00+00:00~1", "older~~"):
        answer = alice.get(f"{AUDIT}?page={page}")
        assert (answer.status_code, trouble_of(answer)) == (400, [])
    assert "Enter a valid date" in shown(alice, f"{AUDIT}?since=yesterday")


def test_the_log_is_for_those_who_may_see_it(world: World, made: Everything) -> None:
    for path in (AUDIT, f"{AUDIT}export/"):
        assert client_of(world.bob).get(path).status_code == 403
        assert client_of(world.charlie).get(path).status_code == 404


def test_the_page_exports_what_the_filter_leaves(world: World, made: Everything, alice: Client) -> None:
    answer = alice.get(f"{AUDIT}export/?as=csv&action=membership")
    rows = b"".join(answer.streaming_content).decode().splitlines()
    assert (rows[0].split(",")[:2], len(rows)) == (["at", "actor"], 1 + 2)
    assert alice.get(f"{AUDIT}export/?as=xls").status_code == 400


def test_what_a_line_changed_is_told_name_by_name() -> None:
    line = AuditEntry(
        before={"name": "Old", "gone": 1, "settings": {"host": "a", "port": 1}, "kept": True},
        after={"name": "New", "settings": {"host": "b", "port": 1}, "kept": True, "new": ["x", None]},
    )
    assert audit_log.changes(line) == [
        Change("name", "Old", "New", "changed"),
        Change("gone", "1", "–", "removed"),
        Change("settings.host", "a", "b", "changed"),
        Change("settings.port", "1", "1", "same"),
        Change("kept", "yes", "yes", "same"),
        Change("new", "–", "x, –", "added"),
    ]


def test_every_kind_of_object_that_has_a_page_is_linked(world: World, made: Everything, alice: Client) -> None:
    rows = [made.bot, made.post, made.schedule, made.connection, made.dataset, made.run, made.version, made.canary]
    lines = [
        AuditEntry(pk=number, object_type=row._meta.model_name, object_id=str(row.pk))
        for number, row in enumerate([*rows, made.harvest, made.member, made.token, world.acme])
    ]
    with tenant(world.acme.pk):
        pages = audit_log.pages_of(lines, "acme")
    assert len(pages) == len(lines)
    for page in pages.values():
        shown(alice, page)
    with tenant(world.globex.pk):
        assert audit_log.pages_of(lines[:-1], "globex") == {}


# Usage


def test_the_page_tells_how_much_is_used_and_when_it_frees(world: World, made: Everything, alice: Client) -> None:
    Organization.objects.filter(pk=world.acme.pk).update(
        plan="small", quotas={"bots": 1, "posts_per_day": 10, "candidates_per_day": None}
    )
    with tenant(world.acme.pk):
        quotas.charge("posts_per_day", 10)
        quotas.charge("candidates_per_day", 1234)
        Consumption.objects.create(quota="candidates_per_day", day=quotas.today() - timedelta(days=3), amount=2468)
    page = shown(alice, USAGE)
    assert "1 of 1" in page
    assert "Delete a bot that is no longer needed" in page
    assert "10 of 10" in page
    assert f'More from <time datetime="{quotas.tomorrow().isoformat()}">' in page
    assert "1,234, no limit" in page
    assert "most on one day: 2,468" in page
    assert page.count("<progress") == 4
    assert shown(client_of(world.bob), USAGE)


def test_a_run_that_waits_for_a_quota_says_so(world: World, made: Everything, alice: Client) -> None:
    run = made.online_run
    with tenant(world.acme.pk):
        run.state, run.progress = "queued", {"waits": "The organization's quota is used up. GPU seconds."}
        run.save()
    assert "quota is used up. GPU seconds." in shown(alice, f"/o/acme/bots/{made.bot.pk}/runs/{run.pk}/")


def test_a_page_that_makes_something_shows_the_refusal(world: World, made: Everything, alice: Client) -> None:
    Organization.objects.filter(pk=world.acme.pk).update(quotas={"bots": 1})
    body = {"name": "New", "connection": str(made.connection.pk), "base_model": "starter", "approval": "review"}
    answer = alice.post("/o/acme/bots/new/", body)
    assert (answer.status_code, "Bots: 1 of 1 are used" in answer.content.decode()) == (400, True)


# The operator


def test_the_operator_chooses_plan_and_quotas_on_record(world: World) -> None:
    operator = client_of(make_user("operator@kilroy.example", is_staff=True, is_superuser=True))
    url = f"/operator/accounts/organization/{world.acme.pk}/change/"
    assert operator.get(url).status_code == 200
    for wrong in ('{"bot": 1}', '{"bots": -1}', "[1]", "{"):
        answer = operator.post(url, {"plan": "small", "quotas": wrong})
        assert (answer.status_code, "errorlist" in answer.content.decode()) == (200, True)
    answer = operator.post(url, {"plan": "small", "quotas": '{"bots": 5}'}, REMOTE_ADDR="192.0.2.7")
    assert answer.status_code == 302
    world.acme.refresh_from_db()
    assert (world.acme.plan, world.acme.quotas, world.acme.name) == ("small", {"bots": 5}, "Acme")
    with tenant(world.acme.pk):
        line = AuditEntry.objects.latest("pk")
    assert (line.action, line.actor, line.address) == (
        "organization.plan",
        "operator operator@kilroy.example",
        "192.0.2.7",
    )
    assert line.before == {"plan": "open", "quotas": {}}


def test_what_the_operator_changes_of_a_person_is_in_the_log_of_their_organizations(world: World) -> None:
    operator = client_of(make_user("operator@kilroy.example", is_staff=True, is_superuser=True))
    body = {"email": world.bob.email, "name": "Robert", "is_active": ""}
    assert operator.post(f"/operator/accounts/user/{world.bob.pk}/change/", body).status_code == 302
    with tenant(world.acme.pk):
        line = AuditEntry.objects.latest("pk")
    assert (line.action, line.object_id, line.actor) == (
        "user.change",
        str(world.bob.pk),
        "operator operator@kilroy.example",
    )
    assert (line.before, line.after) == ({"name": "", "is_active": True}, {"name": "Robert", "is_active": False})


def test_pauses_say_what_was_before(world: World) -> None:
    with tenant(world.acme.pk):
        bot: Any = make_bot()
        pause_bot(bot, "loud")
        line = AuditEntry.objects.latest("pk")
    assert (line.before, line.after["reason"]) == ({"paused_at": None, "reason": ""}, "loud")
