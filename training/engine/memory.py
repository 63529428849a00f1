"""Whether a training fits into memory: looked up before a model is loaded, and recognised when it did not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import psutil
import torch

from training.engine import plugins
from training.engine.errors import OutOfMemory
from training.engine.models import causal
from training.engine.models.registry import STARTER, STARTER_FOLDER
from training.engine.types import FinetuneConfig

Shapes = Mapping[str, tuple[int, ...]]

_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)
_FLOAT = 4
_OPTIMIZER_FLOATS = {"adamw": 2, "muon": 2, "adafactor": 0, "sgd": 1}
_WORDS_OF_ALLOCATORS = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory", "CUDA out of memory")


def ran_out(error: BaseException) -> bool:
    """Whether an exception says that memory ran out: torch has a type of its own for accelerators only."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS_OF_ALLOCATORS)


def check(source: str, config: FinetuneConfig) -> None:
    """Raises `OutOfMemory` when training the model at `source` needs more memory than there is.

    Says nothing of a model that cannot be described without fetching it whole.
    """
    shapes = describe(source)
    if shapes is None:
        return
    needed, free = needed_bytes(shapes, config), available_bytes()
    if needed <= free:
        return
    count = sum(math.prod(shape) for shape in shapes.values())
    advice = (
        "Choose a smaller model, or give this machine more memory."
        if config.method == "lora"
        else "Choose a smaller model, set “method” to “lora”, or give this machine more memory."
    )
    raise OutOfMemory(
        f"Training {source} ({count / 1e6:,.0f} million weights) needs about {needed / 1e9:,.1f} GB of memory, and "
        f"{free / 1e9:,.1f} GB are free. {advice}"
    )


def describe(source: str) -> dict[str, tuple[int, ...]] | None:
    """The shapes of a model's weights by name: of a folder, from the headers of its files; of a model of the hub, from
    its configuration. None when neither can be read.
    """
    folder = STARTER_FOLDER if source == STARTER else Path(source)
    if folder.is_dir():
        try:
            headers = [_header(path) for path in sorted(folder.glob("*.safetensors"))]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):  # loading says what is wrong with it
            return None
        merged = {name: shape for header in headers for name, shape in header.items()}
        return merged or None
    return None if folder.is_absolute() or source.startswith(".") else _from_hub(source)


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    """The first 8 bytes of a safetensors file are the length of the JSON that follows."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("no header")
        header = json.loads(file.read(length))
    return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


def _from_hub(source: str) -> dict[str, tuple[int, ...]] | None:
    from transformers import AutoConfig, AutoModelForCausalLM

    plugins.register_architectures()
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)  # nosec B615 # only sizes
        with torch.device("meta"):
            network = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, ImportError, KeyError):  # loading says what is wrong with it
        return None
    return {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}


def needed_bytes(shapes: Shapes, config: FinetuneConfig) -> int:
    """Bytes for the weights in float32, and, of those that are trained, the optimizer's state and a copy of the best;
    and for what is larger: their gradients, or what an evaluation needs, which is the weights made ready for drawing
    samples and, with LoRA, a copy of those that adapters are merged into. Activations come on top, and can be made
    smaller by `micro_rows`.
    """
    everything = sum(map(math.prod, shapes.values()))
    merged = 0
    if config.method == "lora":
        targets = _patterns(config.lora_targets) or ["*"]
        adapted = [
            shape
            for name, shape in shapes.items()
            if len(shape) == 2 and not _is_table(name) and _matches(name.removesuffix(".weight"), targets)
        ]
        merged = sum(map(math.prod, adapted))
        trained = sum(config.lora_rank * sum(shape) for shape in adapted)
        everything += trained
        if config.conditions:  # their marks are taught in the embeddings
            trained += max((math.prod(shape) for name, shape in shapes.items() if _is_table(name)), default=0)
    else:
        frozen = _patterns(config.frozen)
        trained = sum(math.prod(shape) for name, shape in shapes.items() if not _matches(name, frozen))
    evaluation = merged + (everything * _ready_share() if config.samples_per_evaluation else 0)
    return math.ceil(
        _FLOAT * (everything + trained * (1 + _OPTIMIZER_FLOATS[config.optimizer]) + max(trained, evaluation))
    )


def _ready_share() -> float:
    """How large the weights that are made ready for drawing are, as a share of those in float32."""
    return 0.5 if torch.cuda.is_available() or causal.fast_in_bfloat16() else 1.0


def _is_table(name: str) -> bool:
    """Whether a weight is of embeddings or of the output layer, which no adapter is for."""
    return any(part in name for part in ("emb", "wte", "wpe", "lm_head"))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _patterns(listed: str) -> list[str]:
    return [pattern.strip() for pattern in listed.split(",") if pattern.strip()]


def available_bytes() -> int:
    """Memory that is free on the device that would train: a graphics card's, or this machine's within its cgroup."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    free = int(psutil.virtual_memory().available)
    for limit, used in _CGROUPS:
        try:
            free = min(free, int(limit.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # no such file, or "max": there is no limit
            continue
    return max(free, 0)
