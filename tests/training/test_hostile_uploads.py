"""Hostile files by the way that people upload them: refused in words, in little memory, and nothing of them stays."""

from __future__ import annotations

import csv
import io
import json
import resource
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.db import connections

from accounts.tenancy import tenant
from bots.models import Bot, Post, PostImage
from bots.services import queue
from tests.factories import PNG, World, client_of, make_bot, make_dataset, make_world
from tests.training.hostile_uploads import DATASETS, MB, _many_entries, _zeros_zip
from training.models import Dataset, Example, ModelVersion
from training.services import datasets, uploads

MOST_GROWTH = 100 * MB
API = "/api/v1/organizations/acme/"


@pytest.fixture
def world(db: None, settings: Any, tmp_path: Path) -> World:
    settings.VAR, settings.MEDIA_ROOT = tmp_path / "var", tmp_path / "media"
    return make_world()


@pytest.fixture
def bot(world: World) -> Iterator[Bot]:
    with tenant(world.acme.pk):
        yield make_bot()


def _uploaded(path: Path) -> Any:
    """The file as Django hands it over when it is too large for memory."""
    held = TemporaryUploadedFile(path.name, "application/octet-stream", path.stat().st_size, None)
    held.file.close()
    held.file = path.open("rb")
    return held


def _grown(work: Any) -> int:
    """Bytes that a piece of work takes at its peak, beyond what a process has that is ready for it."""
    receiver, sender = get_context("fork").Pipe(False)

    def child() -> None:
        for each in connections.all():
            each.connection = None  # the parent's: not to be closed here
        with Path("/proc/self/clear_refs").open("w") as file:
            file.write("5")  # the peak is counted from here on
        before = _peak()
        work()
        sender.send(_peak() - before)

    process = get_context("fork").Process(target=child)
    process.start()
    process.join(120)
    assert process.exitcode == 0
    return int(receiver.recv())


def _peak() -> int:
    told = Path("/proc/self/status").read_text()
    return int(told.split("VmHWM:")[1].split()[0]) * 1024


def test_memory_that_grows_is_seen() -> None:
    assert _grown(lambda: bytearray(200 * MB)) > 150 * MB > resource.getpagesize()


@pytest.mark.parametrize("name", list(DATASETS))
def test_no_hostile_file_becomes_a_dataset(bot: Bot, name: str, tmp_path: Path) -> None:
    """Through the service that page and API call. The preview is looked at in a process of its own first."""
    path = tmp_path / name
    DATASETS[name](path)

    def preview() -> None:
        from training.imports import ImportRefused
        from training.imports import preview as look

        try:
            with path.open("rb") as stream:
                assert not look(stream, name).importable
        except ImportRefused:
            pass

    assert _grown(preview) < MOST_GROWTH
    made = datasets.upload_dataset(
        bot, _uploaded(path), name="Hostile", source="somebody", licence="none", may_learn=True
    )
    assert (made.state, Example.objects.count()) == (Dataset.State.REFUSED, 0)
    assert made.error.endswith((".", "?"))
    assert not any(word in made.error for word in ("Traceback", "Error(", "object at", "/etc/passwd", "root:"))
    with pytest.raises(ValidationError):
        datasets.request_import(made.pk)
    datasets.delete_dataset(made.pk)


def test_what_was_refused_leaves_no_file_once_it_is_deleted(
    bot: Bot, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    path = tmp_path / "pickle.csv"
    DATASETS["pickle.csv"](path)
    made = datasets.upload_dataset(bot, _uploaded(path), name="A", source="b", licence="c", may_learn=True)
    assert [each.name for each in (tmp_path / "media").rglob("*") if each.is_file()] != []
    with django_capture_on_commit_callbacks(execute=True):
        datasets.delete_dataset(made.pk)
    assert [each for each in (tmp_path / "media").rglob("*") if each.is_file()] == []


def test_over_the_api_the_refusal_is_an_answer_in_words(world: World, bot: Bot, tmp_path: Path) -> None:
    for name in ("pickle.txt", "columns.csv", "utf32.csv", "link.zip", "not_the_size_it_says.zip"):
        path = tmp_path / name
        DATASETS[name](path)
        file = SimpleUploadedFile(name, path.read_bytes())
        given = {"bot": str(bot.pk), "name": "A", "source": "b", "licence": "c", "file": file}
        answer = client_of(world.alice).post(f"{API}datasets/", given)
        told = answer.json()
        assert (answer.status_code, told["state"], bool(told["error"])) == (201, "refused", True), name


# Models


@pytest.mark.parametrize("kind", ["a long list", "a bomb", "a pickle", "no zip"])
def test_no_hostile_model_becomes_a_version(bot: Bot, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.zip"
    if kind == "a long list":
        _many_entries(path, MB)
    elif kind == "a bomb":
        _zeros_zip(path, "model.safetensors", 300 * MB)
    else:
        path.write_bytes(b"\x80\x04\x95" + bytes(1000) if kind == "a pickle" else b"zip")
    (tmp_path / "aside").mkdir()

    def unpack() -> None:
        from training import model_archive

        with pytest.raises(ValidationError), path.open("rb") as file:
            model_archive.unpack(file, tmp_path / "aside")

    assert _grown(unpack) < MOST_GROWTH
    with pytest.raises(ValidationError):
        uploads.upload_version(bot, _uploaded(path))
    assert not ModelVersion.objects.exists()
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]


# Images


def _png(width: int, height: int) -> bytes:
    """A picture that claims these sides."""
    import struct
    import zlib

    head = struct.pack(">2L5B", width, height, 8, 2, 0, 0, 0)
    return PNG[:16] + head + struct.pack(">L", zlib.crc32(b"IHDR" + head)) + PNG[33:]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x04\x95" + bytes(100), "valid image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "valid image"),
        (b"<html><script>alert(1)</script>", "valid image"),
        (_png(60_000, 60_000), "valid image"),
        (PNG + bytes(20 * MB), "at most 20 MB"),
    ],
    ids=["pickle", "svg", "html", "a bomb", "too large"],
)
def test_no_hostile_image_gets_into_a_post(world: World, bot: Bot, content: bytes, words: str) -> None:
    alice = client_of(world.alice)
    for url, given in (
        (f"{API}posts/", {"bot": str(bot.pk), "text": "A", "image_files": [_image(content)], "alt_texts": ["A"]}),
        (f"/o/acme/bots/{bot.pk}/posts/new/", {"text": "A", "image": _image(content), "alt_text": "A"}),
    ):
        answer = alice.post(url, given)
        assert (answer.status_code, words in answer.content.decode()) == (400, True), url
    assert (Post.objects.count(), PostImage.objects.count()) == (0, 0)


def _image(content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("picture.png", content, content_type="image/png")


# Posts for the queue


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a" * (2 * MB), "larger than 1 MB"),
        (b"a\n" * 400_000, "at most 1000"),
        (b"\xff\xfea\0b\0", "no UTF-8"),
        (b"\x80\x04\x95" + bytes(100), "no UTF-8"),
        (b"\n" * 500_000, "no post"),
    ],
    ids=["long", "many", "utf-16", "pickle", "nothing"],
)
def test_no_hostile_file_gets_into_the_queue(world: World, bot: Bot, content: bytes, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        queue.import_lines(bot, content)
    assert not Post.objects.exists()


def test_a_nul_character_is_left_out_of_the_queue(bot: Bot) -> None:
    (line,) = queue.preview_import(bot, b"a post with \0 in it")
    assert "NUL" in line.dropped


# What comes out again

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", '=HYPERLINK("https://evil.example")', "|calc")


def test_formulas_are_kept_as_they_are_and_escaped_in_tables(world: World, bot: Bot) -> None:
    dataset = make_dataset(bot)
    for number, text in enumerate(FORMULAS):
        facts = {"text": text, "author": text, "source": "s", "licence": "l", "may_learn": True}
        Example.objects.create(dataset=dataset, position=number, **facts)
    url = f"{API}examples/"
    alice = client_of(world.alice)
    given = {"dataset": str(dataset.pk)}
    assert {row["text"] for row in alice.get(url, given).json()["results"]} == set(FORMULAS)
    answer = alice.get(f"{url}csv/", given)
    body = b"".join(answer) if answer.streaming else answer.content
    cells = [cell for row in csv.reader(io.StringIO(body.decode())) for cell in row]
    assert [cell for cell in cells if cell.lstrip().startswith(("=", "+", "@", "-"))] == []
    assert json.dumps(cells).count("=1+1") == 2
