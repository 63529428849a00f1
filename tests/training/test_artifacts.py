"""Model folders in the storage: written once, read back, missed with words."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from training import artifacts
from training.artifacts import ArtifactError

WEIGHTS_SHA256 = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture
def model(folders: Path) -> Path:
    folder = folders / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_bytes(b"{}")
    return folder


@pytest.fixture
def remote(folders: Path, settings: Any) -> None:
    """The storage is on another machine."""
    settings.STORAGES = settings.STORAGES | {"default": {"BACKEND": "tests.training.remote_storage.RemoteStorage"}}


def test_a_folder_is_stored_whole(model: Path) -> None:
    checksum, size = artifacts.store_folder(model, "models/a")
    assert checksum == WEIGHTS_SHA256
    assert size == len(b"weights") + len(b"{}")
    stored = artifacts.local_folder("models/a", WEIGHTS_SHA256)
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == {
        "model.safetensors": b"weights",
        "config.json": b"{}",
    }


def test_what_is_stored_is_never_overwritten(model: Path) -> None:
    artifacts.store_folder(model, "models/a")
    (model / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ArtifactError, match="exists already: artifacts are never overwritten"):
        artifacts.store_folder(model, "models/a")
    stored = artifacts.local_folder("models/a", WEIGHTS_SHA256)
    assert (stored / "model.safetensors").read_bytes() == b"weights"
    assert sorted(path.name for path in stored.iterdir()) == ["config.json", "model.safetensors"]


def test_a_folder_without_weights_is_not_stored(model: Path) -> None:
    (model / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"model\.safetensors is missing"):
        artifacts.store_folder(model, "models/a")
    assert not default_storage.exists("models/a/config.json")


def test_missing_weights_are_named(model: Path) -> None:
    artifacts.store_folder(model, "models/a")
    default_storage.delete("models/a/model.safetensors")
    for prefix in ("models/a", "models/never"):
        with pytest.raises(ArtifactError, match=f"The weights of {prefix} are not in the artifact storage."):
            artifacts.local_folder(prefix, WEIGHTS_SHA256)


@pytest.mark.usefixtures("remote")
def test_a_remote_folder_is_fetched_once(model: Path) -> None:
    artifacts.store_folder(model, "models/a")
    folder = artifacts.local_folder("models/a", WEIGHTS_SHA256)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    default_storage.delete("models/a/model.safetensors")
    assert artifacts.local_folder("models/a", WEIGHTS_SHA256) == folder
    assert (folder / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.usefixtures("remote")
def test_missing_remote_weights_are_named_and_found_once_they_are_there(model: Path) -> None:
    default_storage.save("models/a/config.json", ContentFile((model / "config.json").read_bytes()))
    for _ in range(2):
        with pytest.raises(ArtifactError, match="The weights of models/a are not in the artifact storage"):
            artifacts.local_folder("models/a", WEIGHTS_SHA256)
    default_storage.save("models/a/model.safetensors", ContentFile((model / "model.safetensors").read_bytes()))
    assert (artifacts.local_folder("models/a", WEIGHTS_SHA256) / "model.safetensors").read_bytes() == b"weights"


def test_damaged_weights_are_refused(model: Path) -> None:
    checksum, _ = artifacts.store_folder(model, "models/damaged")
    with default_storage.open("models/damaged/model.safetensors", "wb") as file:
        file.write(b"weighty")
    with pytest.raises(ArtifactError, match=r"The weights of models/damaged are damaged.*choose another model version"):
        artifacts.local_folder("models/damaged", checksum)
