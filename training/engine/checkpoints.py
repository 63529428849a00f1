"""Checkpoints that survive a killed process: safetensors and JSON written aside, flushed, then renamed, with checksums.

Nothing is pickled: tensors go to `tensors.safetensors`, the rest to `state.json`, and `manifest.json` holds the SHA-256
of both. A checkpoint exists once its folder `step-00000123` does.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from training.engine.errors import CorruptWeights

log = logging.getLogger(__name__)

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """What `save_checkpoint` was given, read back: named tensors and JSON state, at `step`. `damaged` are the steps of
    newer checkpoints that could not be read.
    """

    step: int
    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]
    damaged: tuple[int, ...] = ()


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> str:
    """Replaces `path` by a safetensors file of `tensors` in one step; returns its SHA-256."""
    aside = path.with_name(path.name + ".part")
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, aside, metadata={"format": "pt"})
    # safetensors makes files for their owner only; a model folder is read by every process of the installation.
    aside.chmod(0o644)
    return _settle(aside, path)


def write_text(path: Path, text: str) -> str:
    """Replaces `path` by `text` (UTF-8) in one step; returns its SHA-256."""
    aside = path.with_name(path.name + ".part")
    aside.write_text(text, encoding="utf-8")
    return _settle(aside, path)


def _settle(aside: Path, path: Path) -> str:
    flush(aside)
    checksum = sha256(aside)
    aside.replace(path)
    flush(path.parent)
    return checksum


def save_checkpoint(
    parent: Path, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any], *, keep: int = 2
) -> Path:
    """Writes a checkpoint below `parent` and removes all but the `keep` newest; returns its folder."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"step-{step:08d}"
    aside = parent / f".{folder.name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    manifest = {
        TENSORS: write_tensors(aside / TENSORS, tensors),
        STATE: write_text(aside / STATE, json.dumps(state)),
    }
    write_text(aside / MANIFEST, json.dumps(manifest))
    if folder.exists():
        shutil.rmtree(folder)
    aside.rename(folder)
    flush(parent)
    for old in _folders(parent)[keep:]:
        shutil.rmtree(old)
    return folder


def load_newest(parent: Path) -> Checkpoint | None:
    """The newest checkpoint below `parent` whose checksums hold, or None when there has never been one.

    A damaged one is skipped for the one before it. Raises `CorruptWeights` when there are some and all are damaged.
    """
    folders = _folders(parent)
    damaged: list[int] = []
    for folder in folders:
        try:
            return replace(_load(folder), damaged=tuple(damaged))
        except (CorruptWeights, OSError, ValueError, KeyError) as problem:
            log.warning("Skipping the checkpoint %s: %s", folder.name, problem)
            damaged.append(_step(folder))
    if folders:
        raise CorruptWeights(
            f"None of the {len(folders)} checkpoints in {parent} can be read. "
            "Delete that folder to start this training again."
        )
    return None


def _folders(parent: Path) -> list[Path]:
    return sorted(parent.glob("step-*"), reverse=True)


def _load(folder: Path) -> Checkpoint:
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in (TENSORS, STATE):
        if sha256(folder / name) != manifest[name]:
            raise CorruptWeights(f"{name} is not what was written.")
    state = json.loads((folder / STATE).read_text())
    return Checkpoint(_step(folder), load_file(folder / TENSORS), state)


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def pack_optimizer(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The tensors of an optimizer's state, named `prefix.<parameter>.<slot>`; the learning rates are the caller's."""
    return {
        f"{prefix}.{index}.{slot}": value if isinstance(value, torch.Tensor) else torch.tensor(value)
        for index, slots in optimizer.state_dict()["state"].items()
        for slot, value in slots.items()
        if value is not None
    }


def unpack_optimizer(prefix: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Puts back what `pack_optimizer` took; the optimizer must have been built over the same parameters."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(prefix + "."):
            index, slot = name.removeprefix(prefix + ".").split(".", 1)
            state.setdefault(int(index), {})[slot] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors named `prefix.…`, without the prefix."""
    return {k.removeprefix(prefix + "."): v for k, v in tensors.items() if k.startswith(prefix + ".")}


def named(prefix: str, items: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The tensors under `prefix.…`, detached."""
    return {f"{prefix}.{name}": tensor.detach() for name, tensor in items}
