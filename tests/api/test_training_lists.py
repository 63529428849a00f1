"""Examples, metrics, rounds and samples over the API."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.core.files.base import ContentFile

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from tests.api.client import BASE, Api
from tests.everything import Everything
from tests.factories import World, make_round, make_run, make_sample_set
from training.models import Dataset, Example, Metric, Run, RunDataset
from training.series import series_of

# Examples


def test_examples_are_listed_and_narrowed(world: World, made: Everything, api: Api) -> None:
    with tenant(world.acme.pk):
        Example.objects.filter(position=5).update(quarantined="It broke a training twice.", author="=ann")
    everything = api("get", f"examples/?dataset={made.dataset.pk}&page_size=200")[1]["results"]
    assert [row["position"] for row in everything] == list(range(59, -1, -1))
    for query, positions in {
        "quarantined=true": [5],
        "author=%3Dann": [5],
        f"bot={made.bot.pk}&min_score=58": [59, 58],
        f"dataset={made.dataset.pk}&max_score=0": [0],
        f"dataset={made.dataset.pk}&posted_before=2026-01-01T01:00:00Z": [0],
        "dataset=00000000-0000-4000-8000-000000000000": [],
    }.items():
        assert [row["position"] for row in api("get", f"examples/?{query}")[1]["results"]] == positions, query
    assert len(api("get", f"examples/?dataset={made.dataset.pk}&quarantined=false&page_size=200")[1]["results"]) == 59
    assert api("get", f"examples/{everything[0]['id']}/")[1] == everything[0]


def test_an_example_is_deleted_unless_a_training_learns_from_it(world: World, made: Everything, api: Api) -> None:
    with tenant(world.acme.pk):
        example = made.dataset.examples.get(position=7)
        RunDataset.objects.create(run=made.online_run, dataset=made.dataset)
    assert api("delete", f"examples/{example.pk}/")[0] == 409
    with tenant(world.acme.pk):
        Run.objects.filter(pk=made.online_run.pk).update(state="finished")
    status, _, lines = api("delete", f"examples/{example.pk}/")
    assert (status, lines) == (204, ["example.delete"])
    with tenant(world.acme.pk):
        assert Dataset.objects.get(pk=made.dataset.pk).example_count == 59 == made.dataset.examples.count()
        assert AuditEntry.objects.latest("pk").before == {"dataset": str(made.dataset.pk), "position": 7}


def test_examples_as_csv(world: World, made: Everything, api: Api) -> None:
    with tenant(world.acme.pk):
        Example.objects.filter(position=5).update(text='=HYPERLINK("http://evil")', author="@ann", score=-3.5)
    answer = api.client.get(f"{BASE}examples/csv/?dataset={made.dataset.pk}")
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert (len(rows), rows[5]["text"], rows[5]["author"]) == (60, '\'=HYPERLINK("http://evil")', "'@ann")
    assert rows[5]["score"] == "-3.5"  # a number is a number


def test_a_dataset_in_numbers_and_as_it_was_uploaded(
    world: World, made: Everything, api: Api, settings: Any, tmp_path: Any
) -> None:
    settings.MEDIA_ROOT = tmp_path
    status, body, _ = api("get", f"datasets/{made.dataset.pk}/statistics/")
    assert (status, body["count"], body["scored"], body["mean"], body["authors"]) == (200, 60, 60, 29.5, 1)
    assert api("get", f"datasets/{made.dataset.pk}/file/")[0] == 404
    with tenant(world.acme.pk):
        made.dataset.file.save("x.csv", ContentFile(b"text\nHello\n"))
    answer = api.client.get(f"{BASE}datasets/{made.dataset.pk}/file/")
    assert (answer.getvalue(), answer["Content-Length"]) == (b"text\nHello\n", "11")
    assert answer["Content-Disposition"] == 'attachment; filename="posts.csv"'


# Runs


@pytest.fixture
def long_run(world: World, made: Everything) -> Run:
    """4,000 steps of a metric with two spikes, and a short one."""
    with tenant(world.acme.pk):
        run = make_run(made.bot, state="finished")
        values = [float(step % 7) for step in range(4000)]
        values[1321], values[2765] = 1e6, -1e6
        Metric.objects.bulk_create(
            Metric(run=run, name="loss", step=step, value=value) for step, value in enumerate(values)
        )
        Metric.objects.bulk_create(Metric(run=run, name="lift", step=step * 1000, value=step) for step in range(5))
    return run


@pytest.mark.parametrize("most", [3, 10, 100, 3999])
def test_a_long_metric_is_thinned_and_keeps_its_spikes(
    world: World, api: Api, long_run: Run, most: int, django_assert_num_queries: Any
) -> None:
    status, body, _ = api("get", f"runs/{long_run.pk}/metrics/?max_points={most}")
    assert (status, list(body)) == (200, ["lift", "loss"])
    points = body["loss"]
    assert most * 0.3 <= len(points) <= most
    assert [1321, 1e6] in points
    assert [2765, -1e6] in points
    assert points[-1][0] == 3999
    assert points == sorted(points)
    assert [step for step, _ in points] == sorted({step for step, _ in points})
    assert len(body["lift"]) == 5 or most == 3
    with tenant(world.acme.pk), django_assert_num_queries(2):
        series_of(long_run)


def test_few_points_are_all_told(api: Api, long_run: Run) -> None:
    body = api("get", f"runs/{long_run.pk}/metrics/?max_points=4000&name=loss")[1]
    assert (list(body), len(body["loss"])) == (["loss"], 4000)


def test_metrics_go_on_after_a_step(api: Api, long_run: Run) -> None:
    body = api("get", f"runs/{long_run.pk}/metrics/?after=3990")[1]
    assert body == {"loss": [[step, float(step % 7)] for step in range(3991, 4000)], "lift": [[4000, 4.0]]}
    assert api("get", f"runs/{long_run.pk}/metrics/?after=10000")[1] == {}
    both = api("get", f"runs/{long_run.pk}/metrics/?after=3000&name=lift&name=nothing")[1]
    assert both == {"lift": [[4000, 4.0]]}


@pytest.mark.parametrize("query", ["after=x", "after=-2", "max_points=2", "max_points=1000000", "max_points="])
def test_questions_for_metrics_that_make_no_sense(api: Api, long_run: Run, query: str) -> None:
    assert api("get", f"runs/{long_run.pk}/metrics/?{query}")[0] == 400


def test_rounds_and_samples_are_paged(world: World, made: Everything, api: Api) -> None:
    with tenant(world.acme.pk):
        for number in range(2, 6):
            make_round(made.online_run, number)
            make_sample_set(made.online_run, number, [f"Text {number}"])
    first = api("get", f"runs/{made.online_run.pk}/rounds/?page_size=3")[1]
    second = api.client.get(first["next"]).json()
    assert [row["number"] for row in first["results"] + second["results"]] == [5, 4, 3, 2, 1]
    assert second["next"] is None
    rows = api("get", f"runs/{made.online_run.pk}/samples/?page_size=2")[1]
    assert [(row["step"], row["texts"]) for row in rows["results"]] == [(5, ["Text 5"]), (4, ["Text 4"])]


def test_changes_of_a_run_are_told(made: Everything, api: Api) -> None:
    assert api("patch", f"runs/{made.online_run.pk}/", {"config": {"queue_ahead": 5}})[0] == 200
    changes = api("get", f"runs/{made.online_run.pk}/changes/")[1]
    assert ("queue_ahead", 5, "alice@kilroy.example") in [(row["name"], row["after"], row["by"]) for row in changes]


def test_whether_a_bot_is_getting_better(made: Everything, api: Api, bot: Any) -> None:
    body = api("get", f"lift/{made.bot.pk}/")[1]
    assert (body["tone"], [arm["posts"] for arm in body["arms"]]) == ("better", [30, 10])
    assert body["samples"] == ["A text that the model drew"]
    waiting = api("get", f"lift/{bot.pk}/")[1]
    assert (waiting["tone"], waiting["arms"], waiting["samples"]) == ("waiting", [], [])
