"""Model folders in the artifact storage: written once, never changed, read through a local copy."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage

WEIGHTS = "model.safetensors"


class ArtifactError(Exception):
    """An artifact is missing or not what was stored; the message says which."""


def store_folder(folder: Path, prefix: str) -> tuple[str, int]:
    """Copy a model folder's files into the storage below `prefix`. Returns the SHA-256 of the weights and the size in
    bytes of everything. Raises ArtifactError when there are no weights, or when something is stored there already.
    """
    checksum, size = sha256_of(folder / WEIGHTS), 0
    for path in sorted(folder.iterdir()):
        if path.is_file():
            with path.open("rb") as file:
                name = default_storage.save(f"{prefix}/{path.name}", File(file))
            if name != f"{prefix}/{path.name}":
                default_storage.delete(name)
                raise ArtifactError(f"{prefix}/{path.name} exists already: artifacts are never overwritten.")
            size += path.stat().st_size
    return checksum, size


def size_of(folder: Path) -> int:
    """Bytes of a model folder's files."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def remove_folder(prefix: str) -> None:
    """Delete a stored folder and this machine's copy of it; none is no error."""
    with contextlib.suppress(FileNotFoundError):
        for name in default_storage.listdir(prefix)[1]:
            default_storage.delete(f"{prefix}/{name}")
        default_storage.delete(prefix)  # the empty folder, where a storage has such a thing
    shutil.rmtree(Path(settings.VAR) / "cache" / "artifacts" / prefix, ignore_errors=True)


_verified: set[tuple[Path, str]] = set()


def local_folder(prefix: str, checksum: str) -> Path:
    """The stored folder on this machine: the storage's own where it is local, otherwise a cached copy.

    Raises ArtifactError when it is gone, or when its weights are not those with this SHA-256 (asked once per process).
    """
    try:
        folder = Path(default_storage.path(prefix))
    except NotImplementedError:  # a remote storage has no paths
        folder = _cached(prefix)
    if not (folder / WEIGHTS).exists():
        raise ArtifactError(f"The weights of {prefix} are not in the artifact storage.")
    if (folder, checksum) not in _verified:
        if sha256_of(folder / WEIGHTS) != checksum:
            raise ArtifactError(
                f"The weights of {prefix} are damaged: their SHA-256 is not the one that was stored. "
                "Restore them from a backup, or choose another model version."
            )
        _verified.add((folder, checksum))
    return folder


def _cached(prefix: str) -> Path:
    folder = Path(settings.VAR) / "cache" / "artifacts" / prefix
    if (folder / WEIGHTS).exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        for name in default_storage.listdir(prefix)[1]:
            with default_storage.open(f"{prefix}/{name}", "rb") as source, (aside / name).open("wb") as target:
                shutil.copyfileobj(source, target)
        if (aside / WEIGHTS).exists():  # half a model is not worth keeping: the rest may come
            aside.rename(folder)
    except OSError:  # nothing is stored there, or another process was faster and its copy is as good
        pass
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def alike(first: str, second: str) -> bool:
    """Whether two stored folders hold the same configuration and tokenizer. (Their weights have a SHA-256 of their
    own.)
    """
    return first == second or _reading_files(first) == _reading_files(second)


@lru_cache(maxsize=256)  # a stored folder never changes
def _reading_files(prefix: str) -> tuple[tuple[str, str], ...]:
    try:
        names = sorted(name for name in default_storage.listdir(prefix)[1] if name.endswith(".json"))
    except FileNotFoundError:
        return ()
    found = []
    for name in names:
        with default_storage.open(f"{prefix}/{name}", "rb") as file:
            found.append((name, hashlib.sha256(file.read()).hexdigest()))
    return tuple(found)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises ArtifactError when it is missing."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise ArtifactError(f"{path.name} is missing from the model's folder.") from None


def work_folder(kind: str, key: object) -> Path:
    """A folder of this machine for work in progress (checkpoints, caches); it may be deleted whenever nothing runs."""
    folder = Path(settings.VAR) / "work" / kind / str(key)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
