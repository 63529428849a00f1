"""One dataset: in numbers, post by post, what learned from it, and whether anything more may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots.models import Bot
from tests.factories import World, client_of, make_connection, make_dataset, make_run, make_version
from training import dataset_statistics, history
from training.dataset_statistics import Bar, histogram, over_time, score_bars, statistics_of
from training.dataset_views import drawn
from training.models import Dataset, Example, Harvest, Run
from training.services import datasets, permissions, retraining, runs


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


@pytest.fixture
def here(world: World) -> Iterator[None]:
    with tenant(world.acme.pk):
        yield


def address(bot: Bot, dataset: Dataset, end: str = "") -> str:
    return f"/o/acme/bots/{bot.pk}/datasets/{dataset.pk}/{end}"


# In numbers


def test_posts_of_each_month_or_year() -> None:
    times = [datetime(2025, 11, 3, tzinfo=UTC), datetime(2025, 11, 9, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)]
    assert over_time(times) == [Bar("2025-11", 2), Bar("2025-12", 0), Bar("2026-01", 1)]
    assert over_time([datetime(2019, 5, 1, tzinfo=UTC), *times]) == [
        Bar("2019", 1), *(Bar(str(year), 0) for year in range(2020, 2025)), Bar("2025", 2), Bar("2026", 1),
    ]  # fmt: skip


def test_histograms_count_each_value_once() -> None:
    assert histogram([0, 19, 20, 5000], (0, 20, 40, 60)) == [
        Bar("0 to 20", 2), Bar("20 to 40", 1), Bar("40 to 60", 0), Bar("60 and more", 1),
    ]  # fmt: skip
    assert score_bars([0, 1, 3, 100]) == [
        Bar("0 to 1", 1), Bar("1 to 2", 1), Bar("2 to 4", 1), Bar("4 to 8", 0), Bar("8 to 16", 0), Bar("16 to 32", 0),
        Bar("32 to 64", 0), Bar("64 and more", 1),
    ]  # fmt: skip
    for scores in ([-1.0, 0.5, 3.0], [2.0], [0.0, 64.0], [1e9, 0.1]):
        assert sum(bar.count for bar in score_bars(scores)) == len(scores)
    assert drawn([Bar("a", 2), Bar("b", 1)])[1] == {"x": 50.2, "y": 20.0, "width": 49.6, "height": 20.0}


def test_a_dataset_is_measured_from_its_beginning(bot: Bot, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset(bot, examples=30)
    assert (statistics_of(dataset)["measured"], statistics_of(dataset)["learnable"]) == (30, 30)
    monkeypatch.setattr(dataset_statistics, "MEASURED", 10)
    other = make_dataset(bot, examples=30)
    found = statistics_of(other)
    assert (found["count"], found["measured"], found["scored"], found["mean"]) == (30, 10, 10, 4.5)
    assert found["last_at"] == datetime(2026, 1, 1, 9, tzinfo=UTC)
    assert found["top_authors"] == [Bar("somebody", 10)]


def test_the_page_is_quick_whatever_it_shows(alice: Client, bot: Bot, here: None) -> None:
    dataset = make_dataset(bot, examples=60)
    for _ in range(3):
        make_version(bot, run=make_run(bot, dataset=dataset, state="finished"))
    alice.get(address(bot, dataset))
    with CaptureQueriesContext(connection) as queries:
        answer = alice.get(address(bot, dataset))
    assert answer.content.count(b"Fine-tuning, ") == 3
    assert len(queries) <= 15, [query["sql"][-120:] for query in queries]
    assert not [query for query in queries if "COUNT(*)" in query["sql"] and "training_example" in query["sql"]]


# Post by post


def test_posts_are_paged_by_their_places(alice: Client, bot: Bot, here: None) -> None:
    dataset = make_dataset(bot, examples=120)
    page = alice.get(address(bot, dataset, "examples/"))
    assert page.content.count(b"Past post number") == 50
    assert b'href="?after=49"' in page.content
    middle = alice.get(address(bot, dataset, "examples/?after=49"))
    assert b"Past post number 50<" in middle.content
    assert (b'href="?before=50"' in middle.content, b'href="?after=99"' in middle.content) == (True, True)
    last = alice.get(address(bot, dataset, "examples/?after=99"))
    assert (last.content.count(b"Past post number"), b'rel="next"' in last.content) == (20, False)
    back = alice.get(address(bot, dataset, "examples/?before=50"))
    assert (b"Past post number 49<" in back.content, b'rel="prev"' in back.content) == (True, False)
    assert alice.get(address(bot, dataset, "examples/?after=x&before=99999999999")).status_code == 200


def test_words_are_searched_on_the_page_and_over_the_api(alice: Client, bot: Bot, here: None) -> None:
    dataset = make_dataset(bot, examples=30)
    make_dataset(bot, examples=30)
    page = alice.get(address(bot, dataset, "examples/"), {"text": "NUMBER 2"})
    assert page.content.count(b"Past post number 2") == 11
    api = "/api/v1/organizations/acme/examples/"
    assert len(alice.get(api, {"dataset": str(dataset.pk), "text": "number 2"}).json()["results"]) == 11
    assert len(alice.get(api, {"text": "number 2"}).json()["results"]) == 22
    assert b"No post holds these words" in alice.get(address(bot, dataset, "examples/"), {"text": "<b>"}).content


# Permission


def test_a_withdrawn_dataset_is_not_used(bot: Bot, here: None) -> None:
    dataset = make_dataset(bot, examples=60)
    origin = make_version(bot, run=make_run(bot, dataset=dataset, state="finished"))
    online = make_run(bot, "online", start_version=origin, state="stopped")
    assert len(history.historic_posts(online)) == 60
    permissions.withdraw(dataset.pk)
    assert history.historic_posts(online) == ()
    assert (list(retraining.sources_of(bot)), retraining.learnable_count(bot)) == ([], 0)
    dataset.refresh_from_db()
    with pytest.raises(ValidationError, match="may_learn"):
        runs.start_finetune(bot, dataset)
    dataset.may_learn = True  # as somebody knew it who looked before it was taken back
    with pytest.raises(ValidationError, match="taken back just now"):
        runs.start_finetune(bot, dataset)
    assert not Run.objects.filter(state="queued").exists()
    assert len(history.training_texts(origin)) == 60  # what it learned is still not to be copied
    line = AuditEntry.objects.get(action="dataset.withdraw")
    assert (line.before, line.after) == ({"may_learn": True}, {"may_learn": False})


def test_a_dataset_is_allowed_with_all_its_posts(bot: Bot, here: None) -> None:
    dataset = make_dataset(bot, examples=60, may_learn=False)
    assert statistics_of(dataset)["learnable"] == 0
    allowed = permissions.allow(dataset.pk)
    assert statistics_of(allowed)["learnable"] == 60
    run = runs.start_finetune(bot, allowed)
    assert len(history.training_posts(run)) == 60


def test_a_permission_is_not_taken_from_a_training_under_way(bot: Bot, here: None) -> None:
    dataset = make_dataset(bot, examples=60)
    run = make_run(bot, dataset=dataset, state="running")
    with pytest.raises(ValidationError, match="stop it first"):
        permissions.withdraw(dataset.pk)
    Run.objects.filter(pk=run.pk).update(state="stopped")
    assert permissions.withdraw(dataset.pk).may_learn is False


def test_the_permission_of_a_harvest_is_its_connections(bot: Bot, here: None) -> None:
    dataset = make_dataset(bot)
    Harvest.objects.create(bot=bot, connection=make_connection(name="Town"), dataset=dataset)
    for verb in (permissions.allow, permissions.withdraw):
        with pytest.raises(ValidationError, match="Town"):
            verb(dataset.pk)


def test_nothing_waits_for_an_import(bot: Bot, here: None) -> None:
    dataset = make_dataset(bot, state="importing")
    with pytest.raises(ValidationError, match="being imported"):
        permissions.withdraw(dataset.pk)


def test_permission_and_deletion_on_the_page(alice: Client, world: World, bot: Bot, here: None) -> None:
    dataset, used = make_dataset(bot, examples=3), make_dataset(bot, examples=3)
    make_run(bot, dataset=used, state="finished")
    for verb, expected in (("withdraw", False), ("allow", True)):
        alice.post(address(bot, dataset, f"{verb}/"))
        dataset.refresh_from_db()
        assert dataset.may_learn is expected
    assert client_of(world.bob).post(address(bot, dataset, "delete/")).status_code == 403
    assert alice.post(address(bot, dataset, "delete/")).url == f"/o/acme/bots/{bot.pk}/datasets/"
    assert not Dataset.objects.filter(pk=dataset.pk).exists()
    answer = alice.post(address(bot, used, "delete/"), follow=True)
    assert "it stays as their record" in answer.content.decode()
    assert "It cannot be deleted" in answer.content.decode()


def test_permission_and_uses_over_the_api(alice: Client, bot: Bot, here: None) -> None:
    dataset = make_dataset(bot, examples=3)
    make_version(bot, run=make_run(bot, dataset=dataset, state="finished"))
    api = f"/api/v1/organizations/acme/datasets/{dataset.pk}/"
    assert alice.post(api + "withdraw/").json()["may_learn"] is False
    assert alice.post(api + "allow/").json()["may_learn"] is True
    (use,) = alice.get(api + "uses/").json()
    assert (use["state"], use["versions"], use["weight"]) == ("finished", [1], 1.0)
    told = alice.get(api + "statistics/").json()
    assert (told["count"], told["measured"], told["lengths"]) == (3, 3, [{"label": "0 to 20", "count": 3}])
    json.dumps(told)


# What is left out


def test_what_is_left_out_and_why(alice: Client, bot: Bot, here: None) -> None:
    lines = b"text,score\nRT @ann: <b>look</b>,1\n,2\nx,3\na post of mine,4\nA post of mine,5\nbroken,six\n"
    file = SimpleUploadedFile("posts.csv", lines)
    dataset = datasets.upload_dataset(bot, file, name="Mine", source="me", licence="mine", may_learn=True)
    dataset = datasets.look_through(dataset, filters={"reposts": {}, "duplicates": {}})
    assert dataset.preview["dropped_rows"] == {"no text": [3], "too short": [4]}
    html = alice.get(address(bot, dataset, "preview/")).content.decode()
    table = html[html.index('id="losses"') : html.index("</table>", html.index('id="losses"'))]
    for words in (
        "No text",
        "row 3",
        "Too short",
        "Reposts",
        "row 2, a repost:",
        "Duplicates",
        "row 6",
        "Broken",
        "row 7",
    ):
        assert words in table, words
    assert "RT @ann: &lt;b&gt;look&lt;/b&gt;" in table
    assert "<dt>rows left out</dt><dd>5</dd>" in html


def test_rows_that_nobody_may_see_are_not_shown(world: World, bot: Bot, here: None) -> None:
    dataset = make_dataset(bot, examples=2)
    assert client_of(world.charlie).get(address(bot, dataset, "examples/")).status_code == 404
    assert Example.objects.filter(dataset=dataset).count() == 2
