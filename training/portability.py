"""How datasets, runs and models travel with an organization: trainings end, and weights are looked at before they are
stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import BinaryIO

from accounts import clock
from accounts.export_archive import listed
from accounts.exports import Folder, ImportRefused, Passage, Treatment, register
from accounts.portability import IMPORTED
from training.artifacts import WEIGHTS
from training.models import Canary, Dataset, Generation, Harvest, ModelVersion, Retraining, Run

TENSORS = (".safetensors", ".tensors")
"""Weights; and what goes with them without being loaded as such: Adam's moments, an actor-critic's critic."""
MODEL_FILE = re.compile(r"[A-Za-z0-9_-]{1,60}\.(safetensors|tensors|json|txt|jinja|md)")
"""Of a model's folder. No code and no pickle is ever among them."""
LONGEST_HEADER = 100_000_000


def register_models() -> None:
    register("training.Example", "training.Metric", "training.Round", "training.RunDataset", "training.SampleSet")
    register("training.MetricBucket", "training.RunEvent")
    register("training.ShareLink", treatment=Treatment(ends_here="A link is good for one installation: make new ones."))
    register("training.Dataset", treatment=Treatment(arrive=_dataset))
    register(
        "training.ModelVersion",
        treatment=Treatment(folder=Folder(_files, _place), check_file=_check_file, arrive=_version),
    )
    register("training.Run", treatment=Treatment(arrive=_run))
    register("training.Canary", treatment=Treatment(arrive=_canary))
    register("training.Generation", treatment=Treatment(arrive=_generation))
    register("training.Harvest", "training.Retraining", treatment=Treatment(arrive=_repeated))


def _dataset(row: Dataset, passage: Passage) -> None:
    if row.state == Dataset.State.IMPORTING:
        row.state = Dataset.State.UPLOADED


def _files(version: ModelVersion) -> Iterable[tuple[str, str]]:
    return listed(version.folder)


def _version(row: ModelVersion, passage: Passage) -> None:
    row.folder = f"models/{row.organization_id}/{row.bot_id}/{row.pk}"


def _place(version: ModelVersion, name: str) -> str:
    if not MODEL_FILE.fullmatch(name):
        raise ImportRefused(
            f"The archive has “{name}” in a model's folder: only weights as safetensors and text files are taken."
        )
    return f"{version.folder}/{name}"


def _check_file(version: ModelVersion, name: str, file: BinaryIO, sha256: str) -> None:
    if name == WEIGHTS and sha256 != version.checksum:
        raise ImportRefused(f"The archive's weights of model {version} are not those that were stored.")
    if name.endswith(TENSORS) and not _is_safetensors(file):
        raise ImportRefused(f"The archive's “{name}” of model {version} is no safetensors file.")


def _is_safetensors(file: BinaryIO) -> bool:
    """Whether a file begins with a header of safetensors: its length in 8 bytes, then an object of JSON."""
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= LONGEST_HEADER:
        return False
    try:
        return isinstance(json.loads(file.read(length)), dict)
    except (ValueError, RecursionError):
        return False


def _run(row: Run, passage: Passage) -> None:
    if row.state in Run.LIVING:
        row.state, row.wish, row.finished_at = Run.State.STOPPED, Run.Wish.STOP, clock.now()
    row.owner, row.lease_until = "", None


def _canary(row: Canary, passage: Passage) -> None:
    if row.state == Canary.State.RUNNING:
        row.state, row.ended_at = Canary.State.ENDED, clock.now()
        row.reason = f"{IMPORTED} while it was on trial."


def _generation(row: Generation, passage: Passage) -> None:
    if row.state == Generation.State.QUEUED:
        row.state, row.error, row.finished_at = Generation.State.FAILED, f"{IMPORTED} unanswered.", clock.now()


def _repeated(row: Harvest | Retraining, passage: Passage) -> None:
    row.active, row.next_at = False, None
