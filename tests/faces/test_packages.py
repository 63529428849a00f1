"""Faces, algorithms and models of other packages: installed for real, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from django.conf import settings

from faces.registry import FACES, BrokenPackage, of_packages

EXAMPLE = Path(settings.BASE_DIR) / "docs/examples/kilroy-face-notebook"

ALGORITHM = """
from training.engine.algorithms import Algorithm
SIGN = Algorithm("Sign", "kilroy_sign:loss", "published")

def loss(batch, params):
    log_probs = batch.logits.log_softmax(-1).gather(1, batch.tokens[:, None])[:, 0]
    value = -(batch.per_post(log_probs) * batch.rewards.sign()).mean()
    return value, {"loss": float(value), "kl": 0.0, "entropy": 0.0}
"""
MODEL = """
def register():
    from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

    class OwnConfig(GPT2Config):
        model_type = "kilroy_own"

    class OwnModel(GPT2LMHeadModel):
        config_class = OwnConfig

    AutoConfig.register("kilroy_own", OwnConfig)
    AutoModelForCausalLM.register(OwnConfig, OwnModel)
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the worked example installed by pip, and two smaller packages."""
    folder = tmp_path_factory.mktemp("packages")
    source = tmp_path_factory.mktemp("source") / "notebook"
    _run("cp", "-r", str(EXAMPLE), str(source))  # building writes into the source
    _run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"),
        *("--disable-pip-version-check", "--target", str(folder), str(source)),
    )
    _add(folder, "kilroy_sign", ALGORITHM, "[kilroy.algorithms]\nsign = kilroy_sign:SIGN\n")
    _add(folder, "kilroy_own", MODEL, "[kilroy.models]\nown = kilroy_own:register\n")
    return folder


def _add(folder: Path, name: str, code: str, entry_points: str) -> None:
    (folder / f"{name}.py").write_text(code)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(entry_points)


def _run(*command: str, folder: Path | None = None) -> str:
    environ = os.environ | ({"PYTHONPATH": str(folder)} if folder else {})
    done = subprocess.run(command, cwd=settings.BASE_DIR, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_worked_example_installs_and_keeps_the_contract(packages: Path) -> None:
    tests = EXAMPLE / "tests"
    said = _run(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tests)),
        folder=packages,
    )
    assert "9 passed" in said


def test_an_algorithm_of_a_package_can_be_chosen_and_used(packages: Path) -> None:
    code = """
import torch
from tests.contracts.algorithm import check_algorithm
from training.engine import algorithms
from training.engine.round_types import (ALGORITHM_LABELS)
check_algorithm(algorithms.get("sign"))
print(ALGORITHM_LABELS["sign"])
"""
    assert _run(sys.executable, "-c", code, folder=packages).strip() == "sign (kilroy-sign)"


def test_a_model_of_a_packages_own_architecture_loads_writes_and_is_saved(packages: Path, tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from training.engine import plugins
from training.engine.models.registry import STARTER_FOLDER, load_model
from training.engine.types import (SamplingParams)
plugins.register_architectures()
from transformers import AutoConfig, AutoModelForCausalLM
from training.engine.models.causal import CausalLanguageModel
from training.engine.tokenizer import train_tokenizer
tokenizer = train_tokenizer(["some words to know"] * 3, vocab_size=300)
config = AutoConfig.for_model(
    "kilroy_own", vocab_size=tokenizer.vocab_size, n_layer=1, n_head=2, n_embd=8,
    bos_token_id=tokenizer.end_id, eos_token_id=tokenizer.end_id,
)
folder = Path({str(tmp_path)!r}) / "model"
CausalLanguageModel(AutoModelForCausalLM.from_config(config), tokenizer).save(folder)
model = load_model(str(folder))
print(model.network.config.model_type, len(model.generate(["", ""], SamplingParams(max_new_tokens=4))))
"""
    assert _run(sys.executable, "-c", code, folder=packages).split() == ["kilroy_own", "2"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("sandbox", "tests.faces.test_packages:SANDBOX", "There is a face “sandbox” already"),
        ("other", "tests.faces.no_such_module:KIND", "cannot be loaded"),
        ("other", "tests.faces.test_packages:EXAMPLE", "is no faces.registry.FaceKind"),
    ],
)
def test_a_package_that_is_broken_is_named(name: str, value: str, said: str) -> None:
    with pytest.raises(BrokenPackage, match=said):
        of_packages([EntryPoint(name, value, "kilroy.faces")], FACES)


SANDBOX = FACES["sandbox"]
