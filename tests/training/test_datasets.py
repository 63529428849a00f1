"""Past posts coming in: uploaded, looked through, imported, refused, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, connections

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots.models import Bot
from tests.factories import World, make_bot, make_dataset, make_run, make_version
from training import history
from training.imports import ImportRefused
from training.models import Dataset, Example
from training.services import datasets, runs

GOOD = "text,score,subreddit,created_at\nFirst post,3,books,2020-01-01\nSecond post,,books,2020-01-02\nThird,5,tech,\n"
BROKEN = "text,score\nFirst post,3\nSecond post,many\nThird post,5\n"


def upload(bot: Bot, content: str | bytes, filename: str = "posts.csv", **answers: Any) -> Dataset:
    data = content.encode() if isinstance(content, str) else content
    defaults = {"name": "My posts", "source": "my account", "licence": "my own words", "may_learn": True}
    return datasets.upload_dataset(bot, SimpleUploadedFile(filename, data), **defaults | answers)


def imported(dataset: Dataset, **choices: Any) -> Dataset:
    datasets.request_import(dataset.pk, **choices)
    return datasets.import_dataset(dataset.pk)


def test_a_preview_says_what_an_import_would_do(bot: Bot) -> None:
    dataset = upload(bot, GOOD)
    assert (dataset.state, dataset.format, dataset.filename) == ("uploaded", "csv", "posts.csv")
    assert dataset.columns["text"] == "text"
    assert dataset.preview["columns_found"] == ["text", "score", "subreddit", "created_at"]
    assert (dataset.preview["kept"], dataset.preview["problem_count"], dataset.preview["ok"]) == (3, 0, True)
    assert [row["text"] for row in dataset.preview["sample"]] == ["First post", "Second post", "Third"]
    assert not Example.objects.exists()


def test_an_import_keeps_every_row_with_its_origin(
    bot: Bot, rung: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    dataset = upload(bot, GOOD, may_learn=False)
    with django_capture_on_commit_callbacks(execute=True):
        datasets.request_import(dataset.pk)
    assert rung == [("training.tasks.import_dataset", str(bot.organization_id), str(dataset.pk))]
    dataset = datasets.import_dataset(dataset.pk)
    assert (dataset.state, dataset.example_count, dataset.error) == ("ready", 3, "")
    rows = list(Example.objects.values_list("position", "text", "score", "community"))
    assert rows == [(0, "First post", 3.0, "books"), (1, "Second post", None, "books"), (2, "Third", 5.0, "tech")]
    example = Example.objects.get(position=0)
    assert (example.source, example.licence, example.may_learn) == ("my account", "my own words", False)
    assert example.posted_at.isoformat() == "2020-01-01T00:00:00+00:00"


def test_texts_come_in_whole(bot: Bot) -> None:
    text = "zażółć 👩‍👩‍👧 עִבְרִית\u2028„cytat”"
    imported(upload(bot, f'text\n"{text}"\nanother\n'))
    assert Example.objects.get(position=0).text == text


def test_other_columns_can_be_chosen(bot: Bot) -> None:
    dataset = upload(bot, "a,b\nfirst words,second words\nthird words,fourth words\n")
    dataset = datasets.look_through(dataset, {"text": "b"})
    assert (dataset.state, dataset.columns["text"]) == ("uploaded", "b")
    imported(dataset)
    assert list(Example.objects.values_list("text", flat=True)) == ["second words", "fourth words"]


def test_a_column_that_is_not_there_refuses_the_dataset_until_another_is_chosen(bot: Bot) -> None:
    dataset = datasets.look_through(upload(bot, GOOD), {"text": "body"})
    assert dataset.state == "refused"
    assert "body" in dataset.error
    assert dataset.preview["columns_found"] == ["text", "score", "subreddit", "created_at"]
    assert datasets.look_through(dataset, {"text": "text"}).state == "uploaded"


def test_an_unknown_part_is_refused(bot: Bot) -> None:
    dataset = upload(bot, GOOD)
    with pytest.raises(ValidationError, match="Columns can be given for: text, score"):
        datasets.look_through(dataset, {"colour": "text"})


def test_broken_rows_keep_a_file_out_unless_the_person_says_so(bot: Bot) -> None:
    dataset = upload(bot, BROKEN)
    assert (dataset.state, dataset.preview["problem_count"], dataset.preview["ok"]) == ("uploaded", 1, False)
    assert dataset.preview["problems"][0]["row"] == 3
    with pytest.raises(ValidationError, match=r"1 rows? (is|are) broken"):
        datasets.request_import(dataset.pk)
    dataset.refresh_from_db()
    assert dataset.state == "uploaded"
    assert imported(dataset, only_good=True).example_count == 2
    assert list(Example.objects.values_list("text", flat=True)) == ["First post", "Third post"]


@pytest.mark.parametrize(
    ("content", "filename"),
    [(b"", "posts.csv"), (b"text\n", "posts.csv"), (b"\x00\x01\x02", "posts.csv"), (b'{"a": ', "posts.json")],
)
def test_a_file_without_anything_to_import_is_refused_with_a_reason(bot: Bot, content: bytes, filename: str) -> None:
    dataset = upload(bot, content, filename)
    assert dataset.state == "refused"
    assert dataset.error
    with pytest.raises(ValidationError, match="only one that waits for your decision"):
        datasets.request_import(dataset.pk, only_good=True)
    assert not Example.objects.exists()


@pytest.mark.parametrize("missing", ["name", "source", "licence"])
def test_where_posts_come_from_has_to_be_said(bot: Bot, missing: str, folders: Path) -> None:
    with pytest.raises(ValidationError) as error:
        upload(bot, GOOD, **{missing: ""})
    assert list(error.value.message_dict) == [missing]
    assert not Dataset.objects.exists()
    assert not (folders / "media").exists()


def test_keys_are_checked_as_an_import_goes_on_so_that_no_row_has_to_be_remembered_for_the_end(bot: Bot) -> None:
    imported(upload(bot, GOOD))
    example = Example.objects.get(position=0)
    example.pk, example.position, example.dataset_id = None, 3, uuid4()
    with pytest.raises(IntegrityError, match="foreign key"):
        example.save(force_insert=True)


def test_importing_twice_changes_nothing(bot: Bot) -> None:
    dataset = imported(upload(bot, GOOD))
    before = list(Example.objects.values_list("pk", flat=True))
    again = datasets.import_dataset(dataset.pk)
    assert (again.state, again.example_count) == ("ready", 3)
    assert list(Example.objects.values_list("pk", flat=True)) == before
    with pytest.raises(ValidationError, match="“Ready”"):
        datasets.request_import(dataset.pk)


@pytest.mark.parametrize("state", ["importing", "ready"])
def test_an_imported_file_is_not_looked_through_again(bot: Bot, state: str) -> None:
    dataset = upload(bot, GOOD)
    Dataset.objects.update(state=state)
    with pytest.raises(ValidationError, match="upload the file again"):
        datasets.look_through(dataset, {"text": "score"})
    dataset.refresh_from_db()
    assert (dataset.state, dataset.columns["text"]) == (state, "text")


def test_a_file_that_went_missing_refuses_the_import_with_nothing_kept(bot: Bot) -> None:
    dataset = upload(bot, GOOD)
    datasets.request_import(dataset.pk)
    Path(dataset.file.path).unlink()
    dataset = datasets.import_dataset(dataset.pk)
    assert dataset.state == "refused"
    assert dataset.error
    assert not Example.objects.exists()


def test_an_import_that_breaks_half_way_keeps_nothing(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = upload(bot, GOOD)
    datasets.request_import(dataset.pk)
    whole = datasets.read

    def breaks(*arguments: Any, **keywords: Any) -> Iterator[Any]:
        yield from whole(*arguments, **keywords)
        assert Example.objects.count() == 2  # some are in already
        raise ImportRefused("the disk is gone.", row=5)

    monkeypatch.setattr(datasets, "BATCH", 2)
    monkeypatch.setattr(datasets, "read", breaks)
    dataset = datasets.import_dataset(dataset.pk)
    assert (dataset.state, dataset.error) == ("refused", "Row 5: the disk is gone.")
    assert (dataset.example_count, Example.objects.count()) == (0, 0)


def test_a_dataset_is_deleted_with_its_posts_and_file(bot: Bot, django_capture_on_commit_callbacks: Any) -> None:
    dataset = imported(upload(bot, GOOD))
    file = Path(dataset.file.path)
    with django_capture_on_commit_callbacks(execute=True):
        datasets.delete_dataset(dataset.pk)
    assert not Dataset.objects.exists()
    assert not Example.objects.exists()
    assert not file.exists()
    assert AuditEntry.objects.get(action="dataset.delete").before["name"] == "My posts"


@pytest.mark.parametrize("state", ["running", "finished"])
def test_a_dataset_that_a_run_learned_from_stays(bot: Bot, state: str) -> None:
    dataset = make_dataset(bot, examples=2)
    make_run(bot, dataset=dataset, state=state)
    with pytest.raises(ValidationError, match=r"1 training run.* learned from this dataset: it stays as their record"):
        datasets.delete_dataset(dataset.pk)
    assert dataset.examples.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_second_bell_does_not_wait_for_an_import_under_way(world: World) -> None:
    with tenant(world.acme.pk):
        dataset = upload(make_bot(), GOOD)
        datasets.request_import(dataset.pk)
        other = connection.copy()
        try:
            with other.cursor() as cursor:
                cursor.execute("BEGIN; SET lock_timeout = '10s'")
                cursor.execute("SELECT 1 FROM training_dataset WHERE id = %s FOR UPDATE", [dataset.pk])
                with connections["default"].cursor() as ours:
                    ours.execute("SET lock_timeout = '1s'")  # waiting would be an error
                assert datasets.import_dataset(dataset.pk).state == "importing"
                cursor.execute("ROLLBACK")
            assert datasets.import_dataset(dataset.pk).state == "ready"
        finally:
            other.close()
            connection.close()


def test_what_a_post_answers_and_is_about_is_kept(bot: Bot) -> None:
    imported(upload(bot, "reply,comment,topic,author\nTea,Tea or coffee?,drinks,ann\n"))
    example = Example.objects.get()
    assert (example.text, example.context, example.topic) == ("Tea", "Tea or coffee?", "drinks")


def test_filters_are_chosen_previewed_and_obeyed(bot: Bot) -> None:
    dataset = upload(bot, "text\nRT @ann: look\na post\na post\n@bob what a day\n")
    assert [report["name"] for report in dataset.preview["filters"]] == ["duplicates"]
    dataset = datasets.look_through(dataset, filters={"reposts": {}, "replies": {}})
    assert [(report["label"], report["dropped"]) for report in dataset.preview["filters"]] == [
        ("Reposts", 1),
        ("Replies", 1),
    ]
    assert dataset.preview["filters"][0]["examples"] == [{"row": 2, "text": "RT @ann: look", "reason": "a repost"}]
    dataset = datasets.look_through(dataset, {"text": "text"})
    assert dataset.preview["kept"] == 2
    assert imported(dataset).example_count == 2
    assert list(Example.objects.values_list("text", flat=True)) == ["a post", "a post"]


def test_a_filter_that_there_is_not_is_refused(bot: Bot) -> None:
    with pytest.raises(ValidationError, match="no filter “magic”"):
        datasets.look_through(upload(bot, GOOD), filters={"magic": {}})


def test_filters_that_leave_nothing_refuse_the_file_until_others_are_chosen(bot: Bot) -> None:
    dataset = datasets.look_through(upload(bot, GOOD), filters={"too_short": {"min_words": 50}})
    assert (dataset.state, dataset.error) == (
        "refused",
        "Not a single row of this file can be imported. Choose fewer filters.",
    )
    assert datasets.look_through(dataset, filters={}).state == "uploaded"


@pytest.fixture
def only_two_rows_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = datasets.preview
    monkeypatch.setattr(datasets, "preview", lambda *given, **named: whole(*given, **named, rows=2))


@pytest.mark.usefixtures("only_two_rows_looked_at")
def test_a_broken_row_past_the_preview_keeps_everything_out_and_asks(bot: Bot) -> None:
    dataset = upload(bot, "text,score\nFirst post,3\nSecond post,4\nThird post,many\nFourth post,1\n")
    assert (dataset.preview["ok"], dataset.preview["complete"]) == (True, False)
    dataset = imported(dataset)
    assert (dataset.state, Example.objects.count()) == ("uploaded", 0)
    assert dataset.error.startswith("Row 4 cannot be read: the score “many” is not a number. Nothing was imported")
    with pytest.raises(ValidationError, match="rows are broken"):
        datasets.request_import(dataset.pk)
    dataset = imported(dataset, only_good=True)
    assert (dataset.state, dataset.example_count, dataset.error) == ("ready", 3, "")


def test_several_datasets_are_mixed_by_their_weights(bot: Bot) -> None:
    large, small = make_dataset(bot, examples=40), make_dataset(bot, examples=10)
    run = runs.start_finetune(bot, {large: 1.0, small: 3.0})
    posts = history.training_posts(run)
    assert [post.text for post in posts[:6]] == [f"Past post number {n}" for n in (0, 1, 0, 2, 3, 4)]
    assert sorted(post.weight for post in posts) == [1.0] * 40 + [3.0] * 10
    assert posts[0].conditions.author == "somebody"
    assert Example.objects.get(pk=posts[0].key).text == posts[0].text
    run.config["mixing"] = "equal"
    totals = {
        dataset.pk: sum(
            post.weight for post in history.training_posts(run) if dataset.examples.filter(pk=post.key).exists()
        )
        for dataset in (large, small)
    }
    assert totals == {large.pk: pytest.approx(25.0), small.pk: pytest.approx(75.0)}


def test_quarantined_posts_teach_nothing(bot: Bot) -> None:
    dataset = make_dataset(bot, examples=20)
    dataset.examples.filter(position=3).update(quarantined="it broke a training twice")
    run = runs.start_finetune(bot, dataset)
    assert "Past post number 3" not in [post.text for post in history.training_posts(run)]
    online = make_run(bot, "online", state="finished", start_version=make_version(bot, run=run))
    assert len(history.historic_posts(online)) == 19


@pytest.mark.parametrize("weight", [0.0, -1.0, 1001.0, float("nan")])
def test_a_weight_out_of_range_is_refused(bot: Bot, weight: float) -> None:
    with pytest.raises(ValidationError, match="must be above 0 and at most 1000"):
        runs.start_finetune(bot, {make_dataset(bot, examples=20): weight})


def test_small_datasets_count_together_and_no_dataset_is_refused(bot: Bot) -> None:
    with pytest.raises(ValidationError, match="Fine-tuning needs a dataset"):
        runs.start_finetune(bot, {})
    pair = {make_dataset(bot, examples=10): 1.0, make_dataset(bot, examples=9): 1.0}
    with pytest.raises(ValidationError, match="The datasets together have 19 posts"):
        runs.start_finetune(bot, pair)
    run = runs.start_finetune(bot, pair | {make_dataset(bot, examples=1): 2.0})
    assert list(run.sources.values_list("weight", flat=True)) == [1.0, 1.0, 2.0]
