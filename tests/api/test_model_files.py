"""Model versions as files: downloaded as a zip, uploaded as one, and what is refused on the way in."""

from __future__ import annotations

import io
import json
import pickle
import random
import resource
import struct
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile

from accounts.tenancy import tenant
from bots.models import Bot
from tests.api.client import BASE, Api
from tests.factories import World
from training import model_archive, model_config
from training.models import Generation, ModelVersion

STARTER = Path(django_settings.BASE_DIR) / "training" / "starter"
Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, settings: Any) -> None:
    settings.VAR, settings.MEDIA_ROOT = tmp_path / "var", tmp_path / "media"


def tensors(header: Any, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def f32(shape: list[int], begin: int) -> dict[str, Any]:
    size = 4
    for side in shape:
        size *= side
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, begin + size]}


CONFIG = {"model_type": "gpt2", "vocab_size": 8, "n_embd": 4, "n_layer": 1, "n_head": 2, "n_positions": 8}
WEIGHTS = {"wte": f32([8, 4], 0), "attn": f32([4, 16], 128), "mlp": f32([4, 16], 384)}


def model(**changes: Any) -> Files:
    """A tiny model folder; each change replaces a file, or leaves it out (None)."""
    files: dict[str, Any] = {
        "model.safetensors": tensors(WEIGHTS, bytes(640)),
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b'{"tokenizer_class": "GPT2TokenizerFast"}',
    }
    files |= {name.replace("__", "."): content for name, content in changes.items()}
    return {name: content for name, content in files.items() if content is not None}


def zipped(files: Files, compression: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    held.seek(0)
    return held


def why_refused(held: Any, tmp_path: Path, **limits: int) -> str:
    folder = tmp_path / "unpacked"
    folder.mkdir(exist_ok=True)
    with pytest.raises(ValidationError) as refusal:
        model_archive.unpack(held, folder, **limits)
    return " ".join(refusal.value.messages)


def _upload(api: Api, bot: Bot, held: io.BytesIO) -> Any:
    file = SimpleUploadedFile("model.zip", held.read(), content_type="application/zip")
    return api.client.post(f"{BASE}models/upload/", {"bot": str(bot.pk), "file": file})


# Up and down


def test_an_uploaded_model_becomes_a_version_that_a_worker_tries(world: World, api: Api, bot: Bot) -> None:
    files = {path.name: path.read_bytes() for path in STARTER.iterdir() if path.name in model_archive.NEEDED}
    answer = _upload(api, bot, zipped({f"starter/{name}": content for name, content in files.items()}))
    assert answer.status_code == 201
    version, first_text = answer.json()["version"], answer.json()["first_text"]
    assert (version["kind"], version["is_current"], version["run"], version["base"]) == (
        "uploaded",
        False,
        None,
        "uploaded",
    )
    assert (first_text["version"], first_text["state"]) == (version["id"], "queued")
    down = api.client.get(f"{BASE}models/{version['id']}/download/", headers={"Accept": "application/zip"})
    body = down.getvalue()
    assert (down["Content-Type"], int(down["Content-Length"])) == ("application/zip", len(body))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files
    again = _upload(api, bot, io.BytesIO(body))
    assert again.json()["version"]["checksum"] == version["checksum"]
    with tenant(world.acme.pk):
        assert (ModelVersion.objects.count(), Generation.objects.count()) == (2, 2)


def test_a_version_without_weights_says_so(world: World, api: Api, made: Any) -> None:
    assert api("get", f"models/{made.version.pk}/download/")[0] == 409


def test_a_refused_upload_leaves_nothing(world: World, api: Api, bot: Bot, tmp_path: Path) -> None:
    answer = _upload(api, bot, zipped(model(pytorch_model__bin=pickle.dumps("x"))))
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["file"])
    with tenant(world.acme.pk):
        assert not ModelVersion.objects.exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# What is refused


def test_a_small_model_is_taken(tmp_path: Path) -> None:
    model_archive.unpack(zipped(model(README__md=b"# Hello", generation_config__json=b"{}")), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*model_archive.NEEDED, "generation_config.json"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("pytorch_model.bin", pickle.dumps({"a": 1}), "can hold a program"),
        ("weights.PT", b"x", "can hold a program"),
        ("modeling_evil.py", b"import os", "can hold a program"),
        ("notes.txt", b"x", "does not belong here"),
        ("../config.json", b"{}", "leads out"),
        ("/etc/config.json", b"{}", "leads out"),
        ("a/b/config.json", b"{}", "leads out"),
        ("a\\config.json", b"{}", "leads out"),
        ("other/config.json", b"{}", "more than one folder"),
    ],
)
def test_entries_that_do_not_belong(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    assert words in why_refused(zipped({**model(), name: content}), tmp_path)


def test_a_pickle_that_calls_itself_safetensors(tmp_path: Path) -> None:
    assert "no safetensors" in why_refused(zipped(model(model__safetensors=pickle.dumps([1] * 99))), tmp_path)


def test_links_devices_and_encrypted_entries(tmp_path: Path) -> None:
    for mode in (0o120777, 0o060666):
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as archive:
            entry = zipfile.ZipInfo("config.json")
            entry.external_attr = mode << 16
            archive.writestr(entry, "/etc/passwd")
        assert "is a link" in why_refused(held, tmp_path)
    content = bytearray(zipped(model()).getvalue())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    assert "encrypted" in why_refused(io.BytesIO(bytes(content)), tmp_path)


def test_bombs_and_lies_about_sizes(tmp_path: Path) -> None:
    assert "times as large" in why_refused(zipped(model(tokenizer__json=b"{" + bytes(10**7))), tmp_path)
    stored = zipped(model(tokenizer__json=b"{" + bytes(model_archive.LARGEST_JSON)), zipfile.ZIP_STORED)
    assert "larger than" in why_refused(stored, tmp_path)
    assert "larger than" in why_refused(zipped(model()), tmp_path, most_bytes=500)
    many = zipped({**model(), **{f"{number}/": b"" for number in range(70)}})
    assert "74 entries" in why_refused(many, tmp_path)
    content = bytearray(zipped(model(), zipfile.ZIP_STORED).getvalue())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 100)  # says that it holds less than it does
    assert why_refused(io.BytesIO(bytes(content)), tmp_path)
    assert "no zip" in why_refused(io.BytesIO(b"PK\x03\x04 not at all"), tmp_path)
    assert "lacks" in why_refused(zipped({"config.json": b"{}"}), tmp_path)


def test_a_damaged_zip_is_refused_in_words_or_taken(tmp_path: Path) -> None:
    draw = random.Random(1)
    bases = [zipped(model(), compression).getvalue() for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]
    outcomes = set()
    for _ in range(500):
        content = bytearray(draw.choice(bases))
        for _ in range(draw.randint(1, 4)):
            content[-1 - draw.randrange(len(content))] = draw.choice([0, 1, 127, 255, draw.randrange(256)])
        try:
            model_archive.unpack(io.BytesIO(bytes(content)), tmp_path)
            outcomes.add("taken")
        except ValidationError:
            outcomes.add("refused")
    assert outcomes == {"taken", "refused"}


def _shapes(**tensors_by_name: Any) -> Any:
    return tensors({**WEIGHTS, **tensors_by_name}, bytes(640))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 8,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 5 * 2**20) + b"{" + b" " * (5 * 2**20),
        tensors({}),
        tensors([]),
        tensors(b"[" * 100_000),
        tensors(b'{"a": ' + b"9" * 5000 + b"}"),
        tensors(b'{"a": {}, "a": {}}'),
        tensors(b"\xff\xfe"),
        tensors(WEIGHTS, bytes(639)),
        tensors(WEIGHTS, bytes(641)),
        _shapes(mlp={**WEIGHTS["mlp"], "dtype": "PICKLE"}),
        _shapes(mlp={**WEIGHTS["mlp"], "dtype": ["F32"]}),
        _shapes(mlp={**WEIGHTS["mlp"], "shape": [4, -16]}),
        _shapes(mlp={**WEIGHTS["mlp"], "shape": [4.0, 16]}),
        _shapes(mlp={**WEIGHTS["mlp"], "shape": [2**40, 2**40]}),
        _shapes(mlp={**WEIGHTS["mlp"], "data_offsets": [128, 384]}),
        _shapes(mlp={**WEIGHTS["mlp"], "data_offsets": [10**9, 10**9 + 256]}),
        _shapes(mlp={**WEIGHTS["mlp"], "code": "x"}),
        _shapes(mlp=7),
        _shapes(more=f32([1], 0)),
    ],
    ids=range(22),
)
def test_headers_that_are_not_what_they_should_be(tmp_path: Path, content: bytes) -> None:
    assert why_refused(zipped(model(model__safetensors=content), zipfile.ZIP_STORED), tmp_path).startswith(
        "model.safetensors"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "evil"}, "model type"),
        ({"model_type": None}, "model type"),
        ({"model_type": ["gpt2"]}, "model type"),
        ({"auto_map": {"AutoModel": "x.Y"}}, "can name code"),
        ({"text_config": {"auto_map": {}}}, "can name code"),
        ({"_attn_implementation": "someone/kernel"}, "can name code"),
        ({"attn_implementation": "someone/kernel"}, "can name code"),
        ({"quantization_config": {"quant_method": "x"}}, "can name code"),
        ({"trust_remote_code": True}, "can name code"),
        ({"num_labels": 10**9}, "num_labels"),
        ({"vocab_size": 10**6}, "embeddings"),
        ({"n_embd": 8}, "embeddings"),
        ({"n_embd": 4.5}, "n_embd"),
        ({"n_layer": 900}, "layers"),
        ({"n_layer": None}, "how large"),
        ({"n_inner": 10**6}, "layers"),
        ({"n_positions": 1000}, "n_positions"),
        ({"n_head": 10**6}, "n_head"),
    ],
)
def test_configurations_that_claim_or_name_too_much(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    assert words in why_refused(zipped(model(config__json=json.dumps(CONFIG | change).encode())), tmp_path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"tokenizer_class": "EvilTokenizer"}, "names the tokenizer"),
        ({"tokenizer_class": ["GPT2Tokenizer"]}, "names the tokenizer"),
        ({}, "names the tokenizer"),
        ({"tokenizer_class": "GPT2TokenizerFast", "auto_map": {"AutoTokenizer": ["x.Y", None]}}, "can name code"),
        ({"tokenizer_class": "GPT2TokenizerFast", "tokenizer_file": "/etc/passwd"}, "another file"),
        ({"tokenizer_class": "GPT2TokenizerFast", "vocab_file": "/etc/passwd"}, "another file"),
    ],
)
def test_tokenizers_that_are_not_known(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    assert words in why_refused(zipped(model(tokenizer_config__json=json.dumps(config).encode())), tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 10**6, b"\xff", b"pickle"], ids=range(6))
@pytest.mark.parametrize("name", ["config__json", "tokenizer_config__json", "generation_config__json"])
def test_json_that_is_none(tmp_path: Path, name: str, content: bytes) -> None:
    assert why_refused(zipped(model(**{name: content}), zipfile.ZIP_STORED), tmp_path)


def test_every_kind_of_model_on_the_list_is_one_that_the_worker_knows() -> None:
    package = find_spec("transformers")  # its folders are looked at, and nothing of it is loaded
    assert package is not None
    assert package.origin is not None
    kinds = {path.name for path in (Path(package.origin).parent / "models").iterdir()}
    assert kinds >= model_config.MODEL_TYPES


def _grown(act: Callable[[], Any]) -> float:
    """By how many MB the process's largest size grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    act()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def test_the_worst_that_is_looked_at_takes_little_memory(tmp_path: Path) -> None:
    """Everything as large as may be: a header and a tokenizer of many small parts, and weights of 200 MB."""
    many = {f"{number:x}": f32([1], number * 4) for number in range(52_000)}
    header = tensors(many, bytes(52_000 * 4))
    assert len(header) > 3 * 2**20
    path, large = tmp_path / "worst.zip", tmp_path / "large.zip"
    path.write_bytes(zipped(model(model__safetensors=header), zipfile.ZIP_STORED).getvalue())
    with zipfile.ZipFile(large, "w", zipfile.ZIP_STORED) as archive, archive.open("model.safetensors", "w") as file:
        for _ in range(200):
            file.write(bytes(2**20))

    def look() -> None:
        for held in (path, large):
            with held.open("rb") as stream:
                why_refused(stream, tmp_path)

    assert _grown(look) < 100
