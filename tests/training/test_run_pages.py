"""Pages of runs: charts, runs beside, settings side by side, samples, log, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from tests.accounts.test_pages import trouble_of
from tests.api.client import BASE
from tests.factories import World, client_of, make_bot, make_dataset, make_round, make_run, make_sample_set
from training import configs
from training.models import Run, RunEvent
from training.services import run_choices
from training.services.telemetry import Recorder


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


@pytest.fixture
def pair(world: World) -> Iterator[tuple[Run, Run]]:
    """Two fine-tunings of a bot, of 40 and of 30 steps."""
    with tenant(world.acme.pk):
        bot = make_bot()
        dataset = make_dataset(bot, examples=20)
        made = []
        for steps, rate in ((40, 1e-3), (30, 5e-4)):
            run = make_run(bot, dataset=dataset, state="finished", config={"learning_rate": rate, "seed": 7})
            with Recorder(run) as recorder:
                for step in range(steps):
                    recorder.on_step(step, {"loss": 4 - step / 20, "learning_rate": rate})
                recorder.on_step(20, {"heldout_loss": 3.5})
            made.append(run)
        yield made[0], made[1]


def path(run: Run, rest: str = "") -> str:
    return f"/o/acme/bots/{run.bot_id}/runs/{run.pk}/{rest}"


def series(client: Client, run: Run, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(path(run, f"series/{query}"))
    assert answer.status_code == 200, answer.content
    return answer.json()["runs"]


def test_the_charts_of_a_run_show_its_range_smoothed_and_with_runs_beside(alice: Client, pair: tuple[Run, Run]) -> None:
    run, other = pair
    [own] = series(alice, run)
    assert sorted(own["metrics"]) == ["heldout_loss", "learning_rate", "loss"]
    assert (own["over"], len(own["metrics"]["loss"])) == ({}, 40)
    [own] = series(alice, run, "?name=loss&after=9&before=12")
    assert own["metrics"] == {"loss": [[10, 3.5], [11, 3.45]]}
    [own, beside] = series(alice, run, f"?name=loss&smooth=2&run={other.pk}&run={run.pk}")
    assert own["over"] == {"loss": 2}
    assert own["metrics"]["loss"][10] == [10, pytest.approx(3.525)]
    assert (beside["id"], len(beside["metrics"]["loss"])) == (str(other.pk), 30)
    assert alice.get(path(run, "series/?smooth=3")).status_code == 400
    assert alice.get(path(run, "series/?after=x")).status_code == 400


def test_the_pinned_run_is_one_and_lies_beside_the_others(alice: Client, pair: tuple[Run, Run]) -> None:
    run, other = pair
    for each in (run, other):
        assert alice.post(path(each, "pin/")).status_code == 302
    assert list(Run.objects.filter(pinned=True)) == [other]
    assert [each["pinned"] for each in series(alice, run)] == [False, True]
    assert [each["pinned"] for each in series(alice, other)] == [True]
    html = alice.get(path(other)).content.decode()
    assert "Baseline of the others" in html
    alice.post(path(other, "pin/"), {"unpin": ""})
    assert len(series(alice, run)) == 1
    assert list(
        AuditEntry.objects.filter(action__endswith="pin").order_by("pk").values_list("action", "object_id")
    ) == [
        ("run.pin", str(run.pk)),
        ("run.unpin", str(run.pk)),
        ("run.pin", str(other.pk)),
        ("run.unpin", str(other.pk)),
    ]
    answer = alice.post(f"{BASE}runs/{run.pk}/pin/")
    assert (answer.status_code, answer.json()["pinned"]) == (200, True)
    assert alice.post(f"{BASE}runs/{run.pk}/unpin/").json()["pinned"] is False


def test_two_runs_are_compared(alice: Client, pair: tuple[Run, Run]) -> None:
    run, other = pair
    address = f"/o/acme/bots/{run.bot_id}/runs/compare/"
    answer = alice.get(f"{address}?run={run.pk}&run={other.pk}")
    html = answer.content.decode()
    assert (answer.status_code, trouble_of(answer)) == (200, [])
    assert '<th scope="row">Learning rate</th><td>0.001</td><td>0.0005</td>' in html
    assert '<th scope="row">Seed</th>' not in html
    assert f'data-charts-beside="{other.pk}"' in html
    assert "Tick two or more runs" in alice.get(address).content.decode()
    assert alice.get(f"{address}?run=x").status_code == 404
    rows = alice.get(f"{BASE}runs/{run.pk}/compare/?other={other.pk}").json()
    assert rows == [{"name": "learning_rate", "title": "Learning rate", "here": 1e-3, "there": 5e-4}]
    assert alice.get(f"{BASE}runs/{run.pk}/compare/").status_code == 400
    foreign = make_run(make_bot(), state="finished")
    assert alice.get(f"{BASE}runs/{run.pk}/compare/?other={foreign.pk}").status_code == 400
    assert f"{foreign.pk}" not in alice.get(f"{address}?run={run.pk}&run={foreign.pk}").content.decode()


def test_samples_stand_side_by_side(alice: Client, pair: tuple[Run, Run]) -> None:
    run, _ = pair
    for step in range(0, 50, 10):
        make_sample_set(run, step, [f"First of {step}", f"<b>Second of {step}"])
    html = alice.get(path(run, "samples/")).content.decode()
    assert "<tr><td>First of 0</td><td>First of 20</td><td>First of 40</td></tr>" in html
    assert "&lt;b&gt;Second of 20" in html
    html = alice.get(path(run, "samples/?step=10&step=30&step=x&step=999")).content.decode()
    assert '<th scope="col">Step 10</th><th scope="col">Step 30</th>' in html
    assert "<tr><td>First of 10</td><td>First of 30</td></tr>" in html


def test_the_log_is_paged_newest_first(alice: Client, pair: tuple[Run, Run], world: World) -> None:
    run, _ = pair
    for number in range(60):
        RunEvent.objects.create(run=run, at=run.created_at, text=f"Line {number}.")
    first, second = (alice.get(path(run, f"log/?page={page}")).content.decode() for page in (1, 2))
    assert ("Line 59." in first, "Line 10." in first, "Line 9." in first) == (True, True, False)
    assert "Line 9." in second
    body = alice.get(f"{BASE}runs/{run.pk}/events/?page_size=2").json()
    assert [(row["text"], row["level"], row["kind"]) for row in body["results"]] == [
        ("Line 59.", "info", ""),
        ("Line 58.", "info", ""),
    ]


@pytest.mark.parametrize("api", [False, True])
def test_metrics_as_csv(alice: Client, pair: tuple[Run, Run], api: bool) -> None:
    run, _ = pair
    with Recorder(run) as recorder:
        recorder.on_step(3, {"=cmd()": -1.0})
    answer = alice.get(f"{BASE}runs/{run.pk}/csv/" if api else path(run, "csv/"))
    assert answer["Content-Disposition"].startswith('attachment; filename="Fine-tuning_')
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert [(row["metric"], row["step"]) for row in rows[:3]] == [
        ("'=cmd()", "3"),
        ("heldout_loss", "20"),
        ("learning_rate", "0"),
    ]
    assert (rows[0]["value"], len(rows)) == ("-1.0", 82)


def test_a_long_csv_has_every_point_once(pair: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    from training import series as module

    monkeypatch.setattr(module, "BATCH", 10)
    points = [(metric.name, metric.step) for metric in module.every_point(pair[0])]
    assert points == sorted(points)
    assert len(set(points)) == len(points) == 81


@pytest.mark.parametrize("kind", ["offline", "online"])
def test_the_page_of_a_run_takes_few_statements(alice: Client, pair: tuple[Run, Run], kind: str) -> None:
    run, other = pair
    run_choices.pin(other.pk)
    if kind == "online":
        run = make_run(run.bot, "online", state="running", config=configs.as_json(configs.online({})))
        make_round(run, metrics={"clip_share": 0.5})
    alice.get(path(run))
    with CaptureQueriesContext(connection) as captured:
        assert alice.get(path(run)).status_code == 200
    assert len(captured) <= 15, [query["sql"][:150] for query in captured]
