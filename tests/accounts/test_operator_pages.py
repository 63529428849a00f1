"""The operator's own pages: the review queue, the rules' tools, the jobs; and what is done from them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import clock
from accounts.models import AuditEntry, Consumption, Organization
from accounts.tenancy import tenant
from bots.models import Bot, Post, Report, Sanction, SiteRule, Takedown, Verdict
from bots.operator import queue
from bots.operator.trust import Trust, trust_of
from bots.services import sanctions, site_rules
from tests.everything import make_everything
from tests.factories import World, client_of, make_bot, make_post, make_user, make_verdict

PAGES = ("queue/", "jobs/", "rules/try/", "rules/dry-run/", "rules/dry-run/?run=1")


@pytest.fixture
def operator(db: None) -> Client:
    return client_of(make_user("operator@kilroy.example", is_staff=True, is_superuser=True))


def _act(client: Client, verb: str, row: Any, **said: str) -> str:
    answer = client.post("/operator/act/", {"verb": verb, "id": str(row.pk), **said}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_are_for_staff_with_the_right_to_them(world: World, operator: Client, page: str) -> None:
    staff = make_user(is_staff=True)
    found = {
        "nobody": Client().get(f"/operator/{page}").status_code,
        "a member": client_of(world.alice).get(f"/operator/{page}").status_code,
        "staff without rights": client_of(staff).get(f"/operator/{page}").status_code,
        "the operator": operator.get(f"/operator/{page}").status_code,
    }
    assert found == {"nobody": 302, "a member": 302, "staff without rights": 403, "the operator": 200}
    rights = ["view_report", "view_site", "view_siterule"]
    staff.user_permissions.set(Permission.objects.filter(codename__in=rights))
    assert client_of(staff).get(f"/operator/{page}").status_code == 200


def test_nothing_is_done_by_those_who_may_only_look(world: World) -> None:
    staff = make_user(is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename="view_report"))
    with tenant(world.acme.pk):
        post = make_post(make_bot(), "published")
    for client, expected in ((client_of(staff), 403), (client_of(world.alice), 302), (Client(), 302)):
        answer = client.post("/operator/act/", {"verb": "post.take_down", "id": str(post.pk), "reason": "x"})
        assert answer.status_code == expected
    with tenant(world.acme.pk):
        assert (Post.objects.get(pk=post.pk).state, Takedown.objects.count()) == ("published", 0)


def test_trust_by_hand(world: World) -> None:
    # 30·73/365 + 30·lg(10)/lg(1001) + 40 − 10 − 20 = 6 + 9.9987 + 10
    assert Trust(73, 9, 1, {"review": 1}).score == 26
    assert (Trust(0, 0, 0, {}).score, Trust(9999, 10**6, 0, {}).score) == (40, 100)
    assert Trust(0, 0, 0, {"suspension": 3}).score == 0
    Organization.objects.filter(pk=world.acme.pk).update(created_at=clock.now() - timedelta(days=73, minutes=1))
    with tenant(world.acme.pk):
        bot = make_bot()
        Consumption.objects.create(quota="posts_per_day", day=clock.now().date(), amount=9)
        Report.objects.create(post=make_post(bot), category="spam", state="upheld", decided_at=clock.now())
        Sanction.objects.create(bot=bot, grade="review", reason="x", by="o")
        Sanction.objects.create(bot=bot, grade="suspension", reason="x", by="o", appeal="granted")
    found = trust_of([world.acme.pk, world.globex.pk])
    assert (found[world.acme.pk], found[world.globex.pk]) == (Trust(73, 9, 1, {"review": 1}), Trust(0, 0, 0, {}))


@pytest.fixture
def waiting(world: World) -> dict[str, Any]:
    """Things to decide, in the order in which they belong, by name."""
    rule = site_rules.keep(
        SiteRule(name="Grave", kind="blocklist", settings={"blocklist": ["x"]}, outcome="block", severity=5)
    )
    now = clock.now()
    with tenant(world.globex.pk):
        theirs = make_bot(name="Theirs")
        Sanction.objects.create(bot=theirs, grade="suspension", reason="x", by="o")  # so they are trusted less
        less_trusted = make_post(theirs, text="Less trusted")
        make_verdict(less_trusted, "links", "flag", reason="A link")
    with tenant(world.acme.pk):
        bot = make_bot(name="Ours")
        grave = make_post(bot, "blocked", text="A grave one")
        make_verdict(grave, rule.name_of_verdicts, "block", reason="It is grave.")
        older, newer = make_post(bot, text="Older"), make_post(bot, text="Newer")
        for post, age in ((older, 3), (newer, 1)):
            make_verdict(post, "links", "flag")
            Verdict.objects.filter(post=post).update(at=now - timedelta(hours=age))
        decided = make_post(bot, "published", text="Decided")
        make_verdict(decided, "links", "flag")
        report = Report.objects.create(post=decided, category="hate", text="This is about me.")
        appeal = sanctions.impose("review", "Too much.", bot=bot)
        sanctions.appeal(appeal.pk, "We did better since.")
    return {"grave": grave, "report": report, "appeal": appeal, "less": less_trusted, "older": older, "newer": newer}


def test_the_queue_is_ordered_by_severity_trust_and_age(waiting: dict[str, Any], operator: Client) -> None:
    found, counts = queue.items()
    assert [item.pk for item in found] == [row.pk for row in waiting.values()]
    assert counts == {"post": 4, "report": 1, "appeal": 1}
    html = operator.get("/operator/queue/").content.decode()
    assert re.findall(r'id="item-([\w-]+)"', html) == [str(row.pk) for row in waiting.values()]
    assert ("Grave" in html, "We did better since." in html) == (True, True)
    assert [item.kind for item in queue.items("report")[0]] == ["report"]


def test_the_queue_asks_no_more_for_more_rows(waiting: dict[str, Any], operator: Client, world: World) -> None:
    def asked() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            operator.get("/operator/queue/")
        return len(queries)

    before = asked()
    with tenant(world.acme.pk):
        bot = Bot.objects.first()
        for _ in range(20):
            make_verdict(make_post(bot), "links", "flag")
    assert asked() == before <= 15


def test_what_is_decided_leaves_the_queue(waiting: dict[str, Any], operator: Client, world: World) -> None:
    _act(operator, "post.dismiss", waiting["grave"])
    _act(operator, "post.block", waiting["less"], reason="No.")
    _act(operator, "report.dismiss", waiting["report"], reason="Nothing there.")
    _act(operator, "appeal.grant", waiting["appeal"], reason="So be it.")
    left = [item.pk for item in queue.items()[0]]
    assert left == [waiting["older"].pk, waiting["newer"].pk]
    with tenant(world.acme.pk):
        lines = AuditEntry.objects.filter(actor="operator operator@kilroy.example").values_list("action", flat=True)
        assert {"post.dismiss_findings", "report.decide", "sanction.decide_appeal", "sanction.lift"} == set(lines)
    with tenant(world.globex.pk):
        assert Post.objects.get(pk=waiting["less"].pk).state == "blocked"


def test_a_post_is_taken_down_and_its_bot_suspended(world: World, operator: Client) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        post = make_post(bot, "published", text="Go away")
    assert "needs" not in _act(operator, "post.take_down", post, reason="It threatens.")
    html = _act(operator, "post.sanction", post, reason="The third time.", grade="suspension", days="7")
    assert "Imposed" in html
    with tenant(world.acme.pk):
        sanction = Sanction.objects.get()
        assert (sanction.bot_id, sanction.takedown.post_id) == (bot.pk, post.pk)
        assert abs((sanction.until - clock.now()) / timedelta(days=7) - 1) < 0.01
        assert Bot.objects.get().paused_at is not None
    _act(operator, "post.sanction", post, reason="All of it.", grade="review", whole="1")
    with tenant(world.acme.pk):
        assert Sanction.objects.filter(bot=None, until=None).count() == 1


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("post.take_down", {}),
        ("post.sanction", {"grade": "exile", "reason": "x"}),
        ("post.sanction", {"grade": "warning", "reason": "x", "days": "-1"}),
        ("post.sanction", {"grade": "warning"}),
        ("post.explode", {}),
        ("post.send_again", {}),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    world: World, operator: Client, verb: str, said: dict[str, str]
) -> None:
    with tenant(world.acme.pk):
        post = make_post(make_bot(), "published")
        _act(operator, verb, post, **said)
        assert (Post.objects.get().state, Takedown.objects.count(), Sanction.objects.count()) == ("published", 0, 0)


def test_the_way_back_leads_nowhere_else(operator: Client) -> None:
    for back, expected in (
        ("/operator/jobs/", "/operator/jobs/"),
        ("https://evil.example/", "/operator/queue/"),
        ("//evil.example/operator/", "/operator/queue/"),
        ("/operator/\\..//evil.example", "/operator/queue/"),
    ):
        assert operator.post("/operator/act/", {"back": back}).headers["Location"] == expected


def test_a_rule_is_made_in_the_panel_with_fields_of_its_own(operator: Client) -> None:
    form = {"name": "No casinos", "kind": "blocklist", "blocklist": "casino\nroulette\n", "outcome": "block"}
    form |= {"severity": "3", "active": "on"}
    answer = operator.post("/operator/bots/siterule/add/", form)
    assert answer.status_code == 302
    rule = SiteRule.objects.get()
    assert (rule.settings, rule.severity) == ({"blocklist": ["casino", "roulette"]}, 3)
    page = operator.get(f"/operator/bots/siterule/{rule.pk}/change/").content.decode()
    assert "casino\nroulette" in page
    wrong = operator.post("/operator/bots/siterule/add/", form | {"name": "B", "kind": "language", "languages": "xx"})
    assert (wrong.status_code, "is none of en" in wrong.content.decode()) == (200, True)
    html = operator.post("/operator/rules/try/", {"text": "Come to the c4sino"}).content.decode()
    assert re.search(r"No casinos</th><td><span class=\"op-bad\">block", html)
    assert operator.get("/operator/bots/siterule/").status_code == 200


def test_jobs_show_what_needs_a_person_and_act_on_it(world: World, operator: Client) -> None:
    with tenant(world.acme.pk):
        made = make_everything()
    unsure = made.posts["needs_human"]
    html = operator.get("/operator/jobs/").content.decode()
    for words in ("Queues", "Processes", "Training", "Posts that need a person", unsure.text, "hooks.example"):
        assert words in html, words
    _act(operator, "post.give_up", unsure)
    with tenant(world.acme.pk):
        assert Post.objects.get(pk=unsure.pk).state == "cancelled"


@pytest.mark.parametrize("kind", ["bots/siterule", "bots/report", "bots/takedown", "bots/sanction", "training/run"])
def test_every_list_and_row_of_moderation_can_be_looked_at(world: World, operator: Client, kind: str) -> None:
    rule = site_rules.keep(SiteRule(name="Grave", kind="mentions", settings={}))
    with tenant(world.acme.pk):
        made = make_everything()
        rows = {
            "bots/siterule": rule,
            "bots/report": Report.objects.get(),
            "bots/takedown": Takedown.objects.get(),
            "bots/sanction": made.sanction,
            "training/run": made.run,
        }
    for url in (f"/operator/{kind}/", f"/operator/{kind}/?q=a", f"/operator/{kind}/{rows[kind].pk}/change/"):
        assert operator.get(url).status_code == 200, url
    if kind != "bots/siterule":
        assert operator.post(f"/operator/{kind}/{rows[kind].pk}/delete/", {"post": "yes"}).status_code == 403
