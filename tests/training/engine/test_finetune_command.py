"""The command line, alone and with two processes that share the work."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from training.engine.finetune_command import main

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = [
    "learning_rate=0.05", "optimizer=sgd", "max_epochs=3", "context=24", "rows_per_step=4", "evaluate_every=3",
    "warmup_steps=2", "samples_per_evaluation=2",
]  # fmt: skip


@pytest.fixture
def arguments(tiny_model_folder: Path, tmp_path: Path, posts: list[str]) -> list[str]:
    lines = [json.dumps({"text": text, "weight": 1 + at % 2}) for at, text in enumerate(posts)]
    (tmp_path / "posts.jsonl").write_text("\n".join(lines))
    # SGD, because Adam makes as much of a gradient of nothing but rounding as of any other; float32, because in
    # bfloat16 a sum depends on how it is divided by more than the test allows.
    settings = ["--precision", "float32"]
    settings += [word for setting in SETTINGS for word in ("--set", setting)]
    return ["--base", str(tiny_model_folder), "--posts", str(tmp_path / "posts.jsonl"), *settings]


AS_A_MODULE = """
import os, runpy, sys
from pathlib import Path
runpy.run_module("training.engine.finetune", run_name="__main__", alter_sys=True)
left = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
sys.exit(" ".join(name for name in left if "gloo" in name) or 0)
"""
"""What `python -m` does; then fails where threads of the group are left: one that is at work while the interpreter ends
aborts it.
"""


@cache
def port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def place(rank: int) -> dict[str, str]:
    """What torchrun tells a process; torchrun itself would only load torch once more."""
    told = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": port()}
    return {**os.environ, **told, "MASTER_ADDR": "127.0.0.1", "PYTHONPATH": ".", "OMP_NUM_THREADS": "1"}


def test_two_processes_come_to_the_weights_of_one(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*arguments, "--work", str(tmp_path / "one"), "--out", str(tmp_path / "model-one")])
    alone = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    command = [sys.executable, "-c", AS_A_MODULE, *arguments]
    command += ["--work", str(tmp_path / "two"), "--out", str(tmp_path / "model-two")]
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=place(rank), stdout=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert second == ""
    shared = [json.loads(line) for line in first.splitlines()]

    assert [entry["step"] for entry in shared] == [entry["step"] for entry in alone]
    assert len(alone) > 8
    for ours, theirs in zip(alone, shared, strict=True):
        for name in {"loss", "heldout_loss", "gradient_norm"} & ours.keys():
            assert theirs[name] == pytest.approx(ours[name], abs=1e-5, rel=1e-5), (name, ours["step"])
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("model-one", "model-two"))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        assert_close(two[name], weight, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--set", "learning=1"], "There is no setting “learning”"),
        (["--base", "./nowhere"], "There is no model folder"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], tmp_path: Path, changes: list[str], words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        main([*arguments, *changes, "--work", str(tmp_path / "work"), "--out", str(tmp_path / "model")])
