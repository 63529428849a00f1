"""The audit log and what is used of quotas, over the API."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.test import Client

from accounts import audit, quotas
from accounts.models import AuditEntry, Membership, Organization
from accounts.plans import QUOTAS
from accounts.tenancy import tenant
from accounts.tokens import create_token
from bots.services.bots import change_bot
from tests.api.client import BASE, Api
from tests.everything import Everything
from tests.factories import World, client_of, make_bot

NASTY = '=HYPERLINK("http://evil.example")'


def lines(world: World) -> list[AuditEntry]:
    with tenant(world.acme.pk):
        return list(AuditEntry.objects.order_by("-at", "-pk"))


def read(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode()


# Audit


def test_the_log_is_walked_newest_first_by_its_cursor(world: World, made: Everything, api: Api) -> None:
    found, path = [], "audit/?page_size=2"
    while path:
        status, page, _ = api("get", path)
        assert status == 200
        found += page["results"]
        path = page["next"].split(BASE)[1] if page["next"] else ""
    assert [row["id"] for row in found] == [line.pk for line in lines(world)]
    assert set(found[0]) == {
        *("id", "at", "actor", "user", "address", "action", "object_type", "object_id", "before", "after")
    }


def test_a_line_says_what_was_and_what_is(world: World, api: Api) -> None:
    with tenant(world.acme.pk):
        bot = make_bot(name="Old")
    api("patch", f"bots/{bot.pk}/", {"name": "New"})
    (line,) = api("get", "audit/?action=bot.change")[1]["results"]
    assert (line["before"], line["after"]) == ({"name": "Old"}, {"name": "New"})
    assert (line["actor"], line["user"], line["address"]) == (world.alice.email, str(world.alice.pk), "127.0.0.1")
    assert api("get", f"audit/{line['id']}/")[1] == line


def test_a_program_is_on_record_with_its_token_and_its_person(world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        token, secret = create_token(Membership.objects.get(user=world.alice), "Nightly job")
    Client().post(f"{BASE}bots/{bot.pk}/pause/", headers={"Authorization": f"Bearer {secret}"})
    line = lines(world)[0]
    assert (line.action, line.user) == ("bot.pause", world.alice)
    assert line.actor == f"token {token.prefix}… (Nightly job) of {world.alice.email}"


@pytest.mark.parametrize(
    ("query", "actions"),
    [
        ("action=bot", ["bot.resume", "bot.pause"]),
        ("action=bot.pause", ["bot.pause"]),
        ("action=bo", []),
        ("actor=ALICE&object_type=bot", ["bot.resume", "bot.pause"]),
        ("actor=bob", []),
        ("object_type=bot&since=2999-01-01T00:00:00Z", []),
        ("object_type=bot&until=2000-01-01T00:00:00Z", []),
    ],
)
def test_the_log_is_narrowed(world: World, api: Api, query: str, actions: list[str]) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
    for verb in ("pause", "resume"):
        api("post", f"bots/{bot.pk}/{verb}/")
    assert [row["action"] for row in api("get", f"audit/?{query}")[1]["results"]] == actions
    found = api("get", f"audit/?object_id={bot.pk}")[1]["results"]
    assert [row["action"] for row in found] == ["bot.resume", "bot.pause"]


def test_the_log_outlives_what_it_speaks_of(world: World, api: Api) -> None:
    with tenant(world.acme.pk):
        bot = make_bot(name="Short-lived")
    assert api("delete", f"bots/{bot.pk}/")[0] == 204
    (line,) = api("get", f"audit/?object_id={bot.pk}")[1]["results"]
    assert (line["action"], line["before"]["name"]) == ("bot.delete", "Short-lived")


def test_the_log_is_exported_with_cells_that_no_spreadsheet_computes(world: World, api: Api) -> None:
    with tenant(world.acme.pk), audit.acting(audit.Actor("+1 actor", world.alice)):
        audit.record(NASTY, world.acme, after={"text": NASTY})
    answer = api.client.get(f"{BASE}audit/export/", headers={"Accept": "text/csv"})
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert 'filename="acme-audit.csv"' in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(read(answer))))
    assert [row["action"] for row in rows] == [*(line.action for line in lines(world)[:0:-1]), f"'{NASTY}"]
    assert (rows[-1]["actor"], json.loads(rows[-1]["after"])) == ("'+1 actor", {"text": NASTY})


def test_the_log_is_exported_as_json_lines_as_the_filters_leave_it(world: World, made: Everything, api: Api) -> None:
    headers = {"Accept": "application/jsonl"}
    answer = api.client.get(f"{BASE}audit/export/?action=membership", headers=headers)
    rows = [json.loads(line) for line in read(answer).splitlines()]
    assert {row["action"] for row in rows} == {"membership.create"}
    kept = [line for line in lines(world)[::-1] if line.action == "membership.create"]
    assert [(row["object_id"], row["after"]) for row in rows] == [(line.object_id, line.after) for line in kept]


def test_a_long_log_is_exported_whole(world: World, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.streamed.BATCH", 3)
    with tenant(world.acme.pk):
        bot = make_bot()
        for number in range(10):
            change_bot(bot, description=str(number))
    answer = api.client.get(f"{BASE}audit/export/?action=bot.change", headers={"Accept": "application/jsonl"})
    told = [json.loads(line)["after"]["description"] for line in read(answer).splitlines()]
    assert told == [str(number) for number in range(10)]


# Usage


def test_usage_tells_each_quota_and_the_last_days(world: World, made: Everything, api: Api) -> None:
    Organization.objects.filter(pk=world.acme.pk).update(plan="small", quotas={"bots": None})
    with tenant(world.acme.pk):
        quotas.consume("candidates_per_day", 7)
    status, told, written = api("get", "usage/")
    assert (status, told["plan"], written) == (200, "small", [])
    found = {row["quota"]: (row["used"], row["limit"], row["frees_at"] is None) for row in told["quotas"]}
    assert found["bots"] == (1, None, True)
    assert found["candidates_per_day"] == (7, 20_000, False)
    assert list(found) == list(QUOTAS)
    daily = {row["quota"]: row["days"] for row in told["daily"]}
    assert (set(daily), {len(days) for days in daily.values()}) == ({n for n, q in QUOTAS.items() if q.daily}, {30})
    assert [day["amount"] for day in daily["candidates_per_day"]][-2:] == [0, 7]
    theirs = client_of(world.charlie).get("/api/v1/organizations/globex/usage/").json()
    assert {row["used"] for row in theirs["quotas"]} == {0}


def test_a_quota_that_is_used_up_is_a_problem_of_its_own(world: World, made: Everything, api: Api) -> None:
    Organization.objects.filter(pk=world.acme.pk).update(quotas={"bots": 1, "candidates_per_day": 3})
    status, problem, written = api("post", "bots/", {"name": "New", "connection": str(made.connection.pk)})
    assert (status, problem["type"], written) == (403, "/problems/quota-exceeded", [])
    members = {name: problem[name] for name in ("quota", "limit", "used", "frees_at")}
    assert members == {"quota": "bots", "limit": 1, "used": 1, "frees_at": None}
    status, problem, _ = api("post", "generate/?wait=false", {"bot": str(made.bot.pk), "n": 4})
    assert (status, problem["quota"]) == (403, "candidates_per_day")
    assert problem["frees_at"] == quotas.tomorrow().isoformat()
    assert "It is free again on" in problem["detail"]
