"""Datasets, runs and model versions over the API."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from accounts.tenancy import tenant
from tests.api.client import Api
from tests.everything import Everything
from tests.factories import World, make_dataset, make_run
from training.models import Canary, Dataset, Example, Run
from training.services import datasets as dataset_services

GOOD = "".join(f"Past post number {n},{n}\n" for n in range(30))
CSV = ("text,score\n" + GOOD).encode()


def _upload(api: Api, a_bot: Any, content: bytes, filename: str = "posts.csv", **change: Any) -> tuple[int, Any]:
    fields = {
        "bot": str(a_bot.pk),
        "name": "Posts",
        "source": "my own",
        "licence": "mine",
        "may_learn": "true",
    } | change
    data = {field: value for field, value in fields.items() if value is not None}
    answer = api.client.post(
        "/api/v1/organizations/acme/datasets/", data | {"file": SimpleUploadedFile(filename, content)}
    )
    return answer.status_code, answer.json()


# Datasets


def test_an_upload_is_previewed_and_imported_when_somebody_says_so(world: World, bot: Any, api: Api) -> None:
    status, dataset = _upload(api, bot, CSV)
    assert (status, dataset["state"], dataset["error"], dataset["filename"]) == (201, "uploaded", "", "posts.csv")
    assert dataset["columns"]["text"] == "text"
    assert dataset["preview"]["kept"] == 30
    assert dataset["preview"]["problem_count"] == 0
    assert dataset["preview"]["sample"][0]["text"] == "Past post number 0"
    assert "file" not in dataset
    with tenant(world.acme.pk):
        assert not Example.objects.exists()

    status, dataset, lines = api("post", f"datasets/{dataset['id']}/import/", {})
    assert (status, dataset["state"], lines) == (202, "importing", ["dataset.import"])
    with tenant(world.acme.pk):
        dataset_services.import_dataset(dataset["id"])
    _, dataset, _ = api("get", f"datasets/{dataset['id']}/")
    assert (dataset["state"], dataset["example_count"]) == ("ready", 30)
    with tenant(world.acme.pk):
        row = Example.objects.get(position=7)
        assert (row.text, row.score, row.licence, row.may_learn) == ("Past post number 7", 7.0, "mine", True)


def test_a_file_with_broken_rows_is_imported_only_by_choice(world: World, bot: Any, api: Api) -> None:
    _, dataset = _upload(api, bot, CSV + b"A post with a broken score,many\n")
    assert dataset["preview"]["problem_count"] == 1
    (problem,) = dataset["preview"]["problems"]
    assert problem["row"] == 32
    assert problem["reason"]
    status, body, _ = api("post", f"datasets/{dataset['id']}/import/", {})
    assert status == 400
    assert "only_good" in body["detail"]
    assert api("post", f"datasets/{dataset['id']}/import/", {"only_good": True})[0] == 202
    with tenant(world.acme.pk):
        assert dataset_services.import_dataset(dataset["id"]).example_count == 30


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x00\x01\x02\x03" * 100, "posts.csv"),
        (b"\xff\xfe\x00", "posts.csv"),
        (b"PK\x03\x04" + b"\0" * 50, "posts.csv"),
        (b"{", "posts.json"),
        (b"[1, 2, 3]", "posts.json"),
        (b'{"text": ', "posts.jsonl"),
        (b'[{"likes": 3}]', "posts.json"),
        (b'text,score\n"unclosed,1\n', "posts.csv"),
        (b"\n\n\n", "posts.txt"),
        (b"[" * 100_000, "posts.json"),
        (b"text\n" + b"x" * 3_000_000, "posts.csv"),
    ],
    ids=range(11),
)
def test_a_file_that_cannot_be_read_is_a_refused_dataset_with_the_reason(
    bot: Any, api: Api, content: bytes, name: str
) -> None:
    status, dataset = _upload(api, bot, content, name)
    if status == 201:
        told = dataset["error"] or dataset["preview"].get("problems")
        assert (dataset["state"] == "refused" or dataset["preview"]["problem_count"] > 0, bool(told)) == (True, True)
    else:
        assert (status, list(dataset["errors"])) == (400, ["file"])
    if dataset.get("state") == "refused":
        assert api("post", f"datasets/{dataset['id']}/import/", {"only_good": True})[0] == 400


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": None}, "name"),
        ({"source": None}, "source"),
        ({"source": " "}, "source"),
        ({"licence": None}, "licence"),
        ({"licence": "x" * 301}, "licence"),
        ({"bot": "not-an-id"}, "bot"),
        ({"may_learn": "perhaps"}, "may_learn"),
    ],
)
def test_an_upload_without_an_answer_is_refused(bot: Any, api: Api, change: dict[str, Any], field: str) -> None:
    status, body = _upload(api, bot, CSV, **change)
    assert (status, list(body["errors"])) == (400, [field])


def test_an_upload_without_a_file_or_with_an_empty_one_is_refused(bot: Any, api: Api) -> None:
    assert _upload(api, bot, b"")[0] == 400
    fields = {"bot": str(bot.pk), "name": "x", "source": "x", "licence": "x"}
    status, body, _ = api("post", "datasets/", fields)
    assert (status, list(body["errors"])) == (400, ["file"])
    status, body, _ = api("post", "datasets/", fields | {"file": "text,score"})
    assert (status, list(body["errors"])) == (400, ["file"])


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\\c.csv", "é\u202e.csv", "x" * 300 + ".csv", ".csv", "CON"])
def test_a_strange_file_name_stays_in_its_folder(world: World, bot: Any, api: Api, name: str) -> None:
    status, body = _upload(api, bot, CSV, name)
    assert status in (201, 400)
    if status == 201:
        with tenant(world.acme.pk):
            stored = Dataset.objects.get(pk=body["id"]).file
        assert stored.name.startswith("datasets/")
        assert ".." not in stored.name


def test_somebody_says_which_column_is_the_text(bot: Any, api: Api) -> None:
    rows = "".join(f"title {n},A post about the number {n}\n" for n in range(30))
    _, dataset = _upload(api, bot, ("alpha,beta\n" + rows).encode())
    status, dataset, _ = api("post", f"datasets/{dataset['id']}/columns/", {"columns": {"text": "beta"}})
    assert (status, dataset["state"]) == (200, "uploaded")
    assert dataset["preview"]["sample"][0]["text"] == "A post about the number 0"


@pytest.mark.parametrize(
    "columns", [{"colour": "text"}, {"text": 7.5}, {"text": ["text"]}, "text", None, {"text": "nowhere"}]
)
def test_columns_that_are_not_there_are_refused(bot: Any, api: Api, columns: Any) -> None:
    _, dataset = _upload(api, bot, CSV)
    status, body, _ = api("post", f"datasets/{dataset['id']}/columns/", {"columns": columns})
    assert (status, body.get("state")) in ((400, None), (200, "refused"))


@pytest.mark.parametrize("state", ["ready", "importing"])
def test_a_dataset_that_was_imported_is_not_looked_through_again(world: World, bot: Any, api: Api, state: str) -> None:
    _, dataset = _upload(api, bot, CSV)
    with tenant(world.acme.pk):
        Dataset.objects.update(state=state)
    status, _, _ = api("post", f"datasets/{dataset['id']}/columns/", {"columns": {"text": "text"}})
    assert status == 400
    assert api("post", f"datasets/{dataset['id']}/import/", {})[0] == 400
    assert api("get", f"datasets/{dataset['id']}/")[1]["state"] == state


def test_filters_are_listed_chosen_and_checked(bot: Any, api: Api) -> None:
    status, known, _ = api("get", "datasets/filters/")
    assert status == 200
    assert known["too_short"]["parameters"]["min_words"]["default"] == 3
    _, dataset = _upload(api, bot, b"text\nRT @ann: look\na post of mine\n")
    address = f"datasets/{dataset['id']}/filters/"
    status, dataset, _ = api("post", address, {"filters": {"reposts": {}}})
    assert (status, dataset["preview"]["kept"]) == (200, 1)
    assert [(each["name"], each["dropped"]) for each in dataset["preview"]["filters"]] == [("reposts", 1)]
    for filters in ({"magic": {}}, {"reposts": {"x": 1}}, {"too_short": {"min_words": "many"}}, ["reposts"], None):
        status, body, _ = api("post", address, {"filters": filters})
        assert (status, list(body["errors"])) == (400, ["filters"])


def test_a_run_learns_from_several_datasets_with_their_weights(world: World, bot: Any, api: Api) -> None:
    with tenant(world.acme.pk):
        first, second = make_dataset(bot, examples=20), make_dataset(bot, examples=20)
    sources = [{"dataset": str(first.pk), "weight": 2.0}, {"dataset": str(second.pk)}]
    body = {"bot": str(bot.pk), "kind": "offline", "datasets": sources, "config": {"mixing": "equal"}}
    status, run, _ = api("post", "runs/", body)
    assert (status, run["config"]["mixing"]) == (201, "equal")
    assert run["datasets"] == [sources[0], {"dataset": str(second.pk), "weight": 1.0}]
    with tenant(world.acme.pk):
        Run.objects.update(state="finished")
    sources[0]["weight"] = 0
    status, answer, _ = api("post", "runs/", body)
    assert (status, "must be above 0" in answer["detail"]) == (400, True)


def test_a_dataset_is_deleted_unless_a_run_learned_from_it(world: World, bot: Any, api: Api) -> None:
    _, dataset = _upload(api, bot, CSV)
    assert api("delete", f"datasets/{dataset['id']}/") == (204, None, ["dataset.delete"])
    with tenant(world.acme.pk):
        kept = make_run(bot).sources.get().dataset
    status, body, _ = api("delete", f"datasets/{kept.pk}/")
    assert (status, "1 training run" in body["detail"]) == (400, True)


# Runs


def test_a_run_is_started_paused_resumed_and_stopped(world: World, bot: Any, api: Api) -> None:
    with tenant(world.acme.pk):
        dataset = make_dataset(bot, examples=20)
    body = {"bot": str(bot.pk), "kind": "offline", "dataset": str(dataset.pk), "config": {"max_epochs": 2}}
    status, run, lines = api("post", "runs/", body)
    assert (status, run["state"], run["config"]["max_epochs"], lines) == (201, "queued", 2, ["run.start"])
    for verb, wish in (("pause", "pause"), ("resume", "run"), ("stop", "stop")):
        status, run, lines = api("post", f"runs/{run['id']}/{verb}/")
        assert (status, run["wish"], lines) == (200, wish, [f"run.{wish}"])
    with tenant(world.acme.pk):
        Run.objects.update(state="stopped")
    for verb in ("pause", "resume", "stop"):
        status, answer, _ = api("post", f"runs/{run['id']}/{verb}/")
        assert (status, "is over" in answer["detail"]) == (400, True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "sideways"}, "kind"),
        ({"dataset": None}, "dataset"),
        ({"config": {"max_epocs": 2}}, "config"),
        ({"config": {"max_epochs": "many"}}, "config"),
        ({"config": {"max_epochs": 10**400}}, "config"),
        ({"config": {"seed": 10**400}}, "config"),
        ({"config": {"max_epochs": -1}}, "config"),
        ({"config": {"max_epochs": True}}, "config"),
        ({"config": {"max_epochs": [1]}}, "config"),
        ({"config": "fast"}, "config"),
        ({"then_online": {"algorithm": "magic"}}, "config"),
        ({"kind": "online"}, "start_version"),
    ],
)
def test_a_run_that_cannot_be_is_refused(world: World, bot: Any, api: Api, change: dict[str, Any], field: str) -> None:
    with tenant(world.acme.pk):
        dataset = make_dataset(bot, examples=20)
    body = {"bot": str(bot.pk), "kind": "offline", "dataset": str(dataset.pk)} | change
    status, answer, lines = api("post", "runs/", body)
    assert (status, list(answer["errors"]), lines) == (400, [field], [])
    with tenant(world.acme.pk):
        assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ({"may_learn": False, "examples": 20}, "may_learn"),
        ({"examples": 19}, "at least 20"),
        ({"state": "uploaded", "examples": 20}, "imported"),
        ({"state": "refused", "examples": 20}, "imported"),
    ],
)
def test_a_dataset_that_may_not_be_learned_from_is_refused(
    world: World, bot: Any, api: Api, dataset: dict[str, Any], words: str
) -> None:
    with tenant(world.acme.pk):
        row = make_dataset(bot, **dataset)
    status, body, _ = api("post", "runs/", {"bot": str(bot.pk), "kind": "offline", "dataset": str(row.pk)})
    assert (status, list(body["errors"]), words in body["detail"]) == (400, ["dataset"], True)


def test_another_bots_dataset_or_version_is_refused(world: World, made: Everything, bot: Any, api: Api) -> None:
    status, body, _ = api("post", "runs/", {"bot": str(bot.pk), "kind": "offline", "dataset": str(made.dataset.pk)})
    assert (status, list(body["errors"])) == (400, ["dataset"])
    status, body, _ = api(
        "post", "runs/", {"bot": str(bot.pk), "kind": "online", "start_version": str(made.version.pk)}
    )
    assert (status, list(body["errors"])) == (400, ["start_version"])


def test_a_bot_has_one_living_run(world: World, made: Everything, api: Api) -> None:
    body = {"bot": str(made.bot.pk), "kind": "offline", "dataset": str(made.dataset.pk)}
    status, answer, _ = api("post", "runs/", body)
    assert (status, "under way" in answer["detail"]) == (400, True)
    with tenant(world.acme.pk):
        Run.objects.filter(pk=made.online_run.pk).update(state="finished")
    assert api("post", "runs/", body)[0] == 201


def test_a_runs_metrics_rise_by_step(made: Everything, api: Api) -> None:
    status, body, _ = api("get", f"runs/{made.run.pk}/metrics/")
    assert (status, body) == (200, {"train_loss": [[0, 3.0], [1, 2.0], [2, 1.0]]})


# Versions


def test_a_version_is_made_current_and_rolled_back(world: World, made: Everything, api: Api) -> None:
    with tenant(world.acme.pk):
        Canary.objects.update(state="ended")
    rows = {row["number"]: row for row in api("get", "models/")[1]["results"]}
    assert (rows[1]["is_current"], rows[2]["is_current"]) == (True, False)
    for number in (2, 1):
        status, body, lines = api("post", f"models/{rows[number]['id']}/make-current/")
        assert (status, body["is_current"], lines) == (200, True, ["version.make_current"])
        found = {row["number"] for row in api("get", "models/")[1]["results"] if row["is_current"]}
        assert found == {number}


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        (["good", "of May"], 200),
        ([], 200),
        (["same", "same"], 400),
        (["x" * 41], 400),
        ([""], 400),
        ([["nested"]], 400),
        ("good", 400),
        (["t"] * 21, 400),
        (None, 400),
    ],
)
def test_tags(made: Everything, api: Api, tags: Any, status: int) -> None:
    found, body, lines = api("post", f"models/{made.version.pk}/tag/", {"tags": tags})
    assert (found, lines) == (status, ["version.tag"] if status == 200 else [])
    if status == 200:
        assert body["tags"] == tags


def test_a_versions_folder_is_nobodys_business(made: Everything, api: Api) -> None:
    assert "folder" not in api("get", f"models/{made.version.pk}/")[1]
