"""Model folders as zips: made on the way out, and taken in from strangers.

What comes in is data and nothing else: weights as safetensors, JSON, and no program of any kind. It is looked at here
without torch; whether a model of it writes texts, a training worker finds out.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from django.core.exceptions import ValidationError
from django.core.files.storage import default_storage

from accounts.zips import open_zip
from training import model_config, safetensors_file
from training.artifacts import WEIGHTS, ArtifactError

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
NEEDED = (WEIGHTS, CONFIG, TOKENIZER, TOKENIZER_CONFIG)
KEPT = (*NEEDED, "generation_config.json", "special_tokens_map.json")
LEFT_OUT = frozenset({"README.md", "LICENSE", "LICENSE.txt", ".gitattributes", "vocab.json", "merges.txt"})
"""Files that model folders often hold and Kilroy does not need."""
PROGRAMS = (
    ".bin",
    ".pt",
    ".pth",
    ".pkl",
    ".pickle",
    ".ckpt",
    ".joblib",
    ".npy",
    ".npz",
    ".h5",
    ".msgpack",
    ".py",
    ".so",
)

BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, IndexError, struct.error)
"""What zipfile raises for a file that is damaged. (OSError is not among it: that is a full disk of ours.)"""

MOST_BYTES = 16 * 2**30
MOST_ENTRIES = 64
MOST_LISTED = 1_000_000
"""Bytes of the zip's list of entries, which is read whole."""
MOST_RATIO = 100
"""How many bytes one byte of the zip may become."""
LARGEST_JSON = 32 * 2**20
BLOCK = 2**20


@dataclass(frozen=True)
class StoredFile:
    """A file of a stored folder: its name, its size in bytes, and how to open it."""

    name: str
    size: int
    open: Callable[[], Any]


def files_of(prefix: str) -> list[StoredFile]:
    """What another installation needs of a stored model folder. Raises ArtifactError when the weights are gone."""
    found = []
    for name in KEPT:
        path = f"{prefix}/{name}"
        if default_storage.exists(path):
            found.append(StoredFile(name, default_storage.size(path), partial(default_storage.open, path, "rb")))
    if not found or found[0].name != WEIGHTS:
        raise ArtifactError(f"The weights of {prefix} are not in the artifact storage.")
    return found


def zipped(files: Sequence[StoredFile]) -> Iterator[bytes]:
    """The files as a zip, block by block. Nothing is compressed: weights do not get smaller."""

    def read(file: StoredFile) -> Iterator[bytes]:
        with file.open() as stream:
            while block := stream.read(BLOCK):
                yield block

    return _zip([(file, read(file)) for file in files])


def zipped_size(files: Sequence[StoredFile]) -> int:
    """The size in bytes of what `zipped` makes: of as many zeros it makes as much."""

    def zeros(size: int) -> Iterator[bytes]:
        block = bytes(BLOCK)
        yield from (block for _ in range(size // BLOCK))
        yield bytes(size % BLOCK)

    return sum(map(len, _zip([(file, zeros(file.size)) for file in files])))


class _Outbox:
    """What zipfile writes to: a stream that cannot go back."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._blocks.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def taken(self) -> bytes:
        taken, self._blocks = b"".join(self._blocks), []
        return taken


def _zip(files: Sequence[tuple[StoredFile, Iterator[bytes]]]) -> Iterator[bytes]:
    outbox: Any = _Outbox()
    with zipfile.ZipFile(outbox, "w") as archive:
        for file, blocks in files:
            entry = zipfile.ZipInfo(file.name)
            with archive.open(entry, "w", force_zip64=file.size >= zipfile.ZIP64_LIMIT) as target:
                for block in blocks:
                    target.write(block)
                    yield outbox.taken()
    yield outbox.taken()


def unpack(file: BinaryIO, folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Put the model folder of an uploaded zip into `folder`, checked. Raises ValidationError, saying what is wrong with
    which file.
    """
    try:
        many = refused(f"The zip has too many entries; a model folder has at most {MOST_ENTRIES}.")
        with open_zip(file, MOST_LISTED, many) as archive:
            for entry, name in _entries(archive, most_bytes).items():
                _extract(archive, entry, folder / name)
    except BROKEN as error:
        raise refused(f"The file is no zip that can be read ({error}).") from None
    weights = safetensors_file.check(folder / WEIGHTS)
    model_config.check_config(folder / CONFIG, weights)
    model_config.check_tokenizer(folder / TOKENIZER, folder / TOKENIZER_CONFIG)
    for name in KEPT[len(NEEDED) :]:
        if (folder / name).exists():
            model_config.read_object(folder / name)


def _entries(archive: zipfile.ZipFile, most_bytes: int) -> dict[zipfile.ZipInfo, str]:
    """The entries that are kept, with their names. All stand side by side, at the top or in one folder."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(archive.infolist()) > MOST_ENTRIES:
        raise refused(f"The zip has {len(archive.infolist())} entries; a model folder has at most {MOST_ENTRIES}.")
    kept: dict[zipfile.ZipInfo, str] = {}
    folders: set[str] = set()
    for entry in entries:
        path = PurePosixPath(entry.filename)
        _check_entry(entry, path)
        folders.add(str(path.parent))
        if path.name in LEFT_OUT:
            continue
        if path.name not in KEPT:
            raise refused(f"“{entry.filename[:100]}” does not belong here: a model folder has {', '.join(KEPT)}.")
        kept[entry] = path.name
    if len(folders) > 1 or len(set(kept.values())) < len(kept):
        raise refused("The zip holds more than one folder: send one model folder.")
    if missing := [name for name in NEEDED if name not in kept.values()]:
        raise refused(f"The zip lacks {', '.join(missing)}.")
    if sum(entry.file_size for entry in kept) > most_bytes:
        raise refused(f"The model is larger than {most_bytes:,} bytes.")
    return kept


def _check_entry(entry: zipfile.ZipInfo, path: PurePosixPath) -> None:
    shown = f"“{entry.filename[:100]}”"
    mode = entry.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise refused(f"{shown} is a link or a device, and no file.")
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or len(path.parts) > 2:
        raise refused(f"{shown} leads out of the model folder.")
    if path.name.lower().endswith(PROGRAMS):
        raise refused(
            f"{shown} can hold a program that runs when it is loaded: save the model as safetensors, and leave it out."
        )
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise refused(f"{shown} is compressed in a way that is not taken: use deflate, or none.")
    if entry.flag_bits & 0x1:
        raise refused(f"{shown} is encrypted.")
    if entry.file_size > MOST_RATIO * max(entry.compress_size, 1):
        raise refused(f"{shown} becomes more than {MOST_RATIO} times as large when it is unpacked.")
    if path.name != WEIGHTS and entry.file_size > LARGEST_JSON:
        raise refused(f"{shown} is larger than {LARGEST_JSON:,} bytes.")


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """Never more than the entry says it holds, whatever it turns out to hold."""
    left = entry.file_size
    with archive.open(entry) as source, target.open("wb") as file:
        while block := source.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise refused(f"“{entry.filename[:100]}” holds more than it says.")
            file.write(block)
    if left:
        raise refused(f"“{entry.filename[:100]}” holds less than it says.")


def refused(words: str) -> ValidationError:
    return ValidationError({"file": words})
