"""A checkpoint is whole or it is not there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from training.engine import checkpoints
from training.engine.checkpoints import load_newest, save_checkpoint
from training.engine.errors import CorruptWeights


def save(parent: Path, step: int, **options: int) -> Path:
    return save_checkpoint(parent, step, {"w": torch.full((3,), float(step))}, {"cursor": step}, **options)


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_it_returns_the_newest_with_tensors_and_state(tmp_path: Path) -> None:
    save(tmp_path, 9)
    save(tmp_path, 10)
    loaded = load_newest(tmp_path)

    assert loaded is not None
    assert (loaded.step, loaded.state, loaded.tensors["w"].tolist()) == (10, {"cursor": 10}, [10.0] * 3)


def test_there_is_none_in_an_empty_folder(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "nothing") is None


def test_only_the_newest_are_kept_and_nothing_else_is_left(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step, keep=2)

    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize("name", [checkpoints.TENSORS, checkpoints.STATE])
def test_a_damaged_one_is_skipped_for_the_one_before(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    flip_a_byte(save(tmp_path, 2) / name)
    with caplog.at_level(logging.WARNING):
        loaded = load_newest(tmp_path)

    assert loaded is not None
    assert loaded.step == 1
    assert "step-00000002" in caplog.text


@pytest.mark.parametrize("missing", [checkpoints.TENSORS, checkpoints.STATE, checkpoints.MANIFEST])
def test_an_incomplete_one_is_skipped(tmp_path: Path, missing: str) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2) / missing).unlink()
    loaded = load_newest(tmp_path)

    assert loaded is not None
    assert loaded.step == 1


def test_it_says_so_when_none_is_left(tmp_path: Path) -> None:
    flip_a_byte(save(tmp_path, 1) / checkpoints.TENSORS)

    with pytest.raises(CorruptWeights, match="None of the 1 checkpoints"):
        load_newest(tmp_path)


def test_a_half_written_one_does_not_count(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / ".step-00000002.part").mkdir()
    (tmp_path / ".step-00000002.part" / checkpoints.TENSORS).write_bytes(b"half")
    loaded = load_newest(tmp_path)

    assert loaded is not None
    assert loaded.step == 1
    assert (save(tmp_path, 2) / checkpoints.MANIFEST).exists()


def test_an_optimizer_goes_on_as_if_it_had_not_stopped() -> None:
    def build() -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
        weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        return weight, torch.optim.AdamW([weight], lr=0.1, fused=True)

    def step(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        weight.grad = 3 * weight.detach() + 1
        optimizer.step()

    straight, straight_optimizer = build()
    for _ in range(4):
        step(straight, straight_optimizer)
    first, first_optimizer = build()
    for _ in range(2):
        step(first, first_optimizer)
    resumed, resumed_optimizer = build()
    resumed.data.copy_(first.data)
    packed = checkpoints.pack_optimizer("o", first_optimizer)
    checkpoints.unpack_optimizer("o", resumed_optimizer, {k: v.clone() for k, v in packed.items()})
    for _ in range(2):
        step(resumed, resumed_optimizer)

    assert_close(resumed, straight, rtol=0, atol=0)
