"""Distrusting the configuration and the tokenizer of a model that somebody uploads.

A configuration decides which class is loaded and how much memory it takes. So the kinds of model and of tokenizer are
chosen from a list, what could name code or another file is refused, and every size must be that of the weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError

from training.safetensors_file import Weights

MODEL_TYPES = frozenset(
    {"gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "phi", "opt", "bloom", "stablelm", "olmo2", "smollm3"}
)
TOKENIZERS = frozenset(
    {
        "TokenizersBackend",
        "PreTrainedTokenizerFast",
        "GPT2Tokenizer",
        "GPT2TokenizerFast",
        "GPTNeoXTokenizer",
        "GPTNeoXTokenizerFast",
        "LlamaTokenizer",
        "LlamaTokenizerFast",
        "Qwen2Tokenizer",
        "Qwen2TokenizerFast",
        "CodeGenTokenizer",
        "CodeGenTokenizerFast",
        "BloomTokenizerFast",
    }
)
HIDDEN = ("n_embd", "hidden_size")
LAYERS = ("n_layer", "num_hidden_layers")
INNER = ("n_inner", "intermediate_size", "ffn_dim")
LARGEST_NUMBER = 2**20
"""Above the sizes of the weights: positions that need no table, ids, windows."""
LARGEST_CONFIG = 2**20


def check_config(path: Path, weights: Weights) -> None:
    """Raises ValidationError unless the configuration is of a known kind and claims no more than the weights hold."""
    config = read_object(path, LARGEST_CONFIG)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in MODEL_TYPES:
        raise _refused(path, f"names the model type “{str(kind)[:60]}”: use one of {', '.join(sorted(MODEL_TYPES))}")
    for name, value in _entries(config):
        if _names_code(name, value):
            raise _refused(path, f"has the entry “{name[:60]}”, which can name code: remove it")
    _check_sizes(path, config, weights)


def _names_code(name: str, value: Any) -> bool:
    """Code of the model's own, kernels of a hub, and private entries that choose either."""
    if value is None or value is False:
        return False
    named = ("auto_map", "custom_", "quantization", "kernel", "_implementation", "trust_remote_code")
    return any(part in name for part in named) or (name.startswith("_") and name != "_name_or_path")


def _check_sizes(path: Path, config: Mapping[str, Any], weights: Weights) -> None:
    largest = weights.largest_side
    for name, value in _entries(config):
        if type(value) is int and "theta" not in name and abs(value) > max(LARGEST_NUMBER, largest):
            raise _refused(path, f"has the number {name[:60]} = {value}, which no model of this size needs")
    hidden, layers, inner = (_size(path, config, names) for names in (HIDDEN, LAYERS, INNER))
    vocabulary = _size(path, config, ("vocab_size",))
    if hidden is None or layers is None or vocabulary is None:
        raise _refused(path, "says not how large the model is: it needs a hidden size, layers and a vocabulary")
    if (vocabulary, hidden) not in weights.shapes.values():
        raise _refused(path, f"claims embeddings of {vocabulary} × {hidden}, and the weights hold none such")
    # Each layer has at least two square matrices for its attention, and two for what follows it.
    if layers * 2 * hidden * max(hidden, inner or hidden) > weights.numbers:
        raise _refused(path, f"claims {layers} layers of width {hidden}, which is more than the weights hold")
    for name, value in config.items():
        of_weights = "head" in name or name in ("n_positions", "n_ctx", "word_embed_proj_dim")
        if of_weights and type(value) is int and value > largest:
            raise _refused(path, f"claims {name[:60]} = {value}, which is more than the weights hold")


def _size(path: Path, config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    given = [config[name] for name in names if config.get(name) is not None]
    if not given:
        return None
    if len(given) > 1 or type(given[0]) is not int or given[0] < 1:
        raise _refused(path, f"must give one of {', '.join(names)}, as a whole number")
    return int(given[0])


def check_tokenizer(tokenizer: Path, config: Path) -> None:
    """Raises ValidationError unless the tokenizer is of a known kind and in the files that came along."""
    told = read_object(config)
    kind = told.get("tokenizer_class")
    if not isinstance(kind, str) or kind not in TOKENIZERS:
        raise _refused(config, f"names the tokenizer “{str(kind)[:60]}”: use one of {', '.join(sorted(TOKENIZERS))}")
    for name, value in _entries(told):
        if value and (_names_code(name, value) or name.endswith("_file") or name == "vocab"):
            raise _refused(config, f"has the entry “{name[:60]}”, which can name code or another file: remove it")
    with tokenizer.open("rb") as file:  # its own library parses it, in the worker: as Python objects it is too large
        if not file.read(64).lstrip().startswith(b"{"):
            raise _refused(tokenizer, "is no JSON object")


def read_object(path: Path, most: int = 8 * 2**20) -> dict[str, Any]:
    """A JSON object. Raises ValidationError for anything else, and for one of more than `most` bytes."""
    if path.stat().st_size > most:
        raise _refused(path, f"is larger than {most:,} bytes")
    try:
        value = json.loads(path.read_bytes().decode())
    except (ValueError, RecursionError):
        raise _refused(path, "is no JSON") from None
    if not isinstance(value, dict):
        raise _refused(path, "is no JSON object")
    return value


def _entries(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every entry with the name that it stands under, however deep."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield key, part
            yield from _entries(part, key)
    elif isinstance(value, list):
        for part in value:
            yield name, part
            yield from _entries(part, name)


def _refused(path: Path, words: str) -> ValidationError:
    return ValidationError({"file": f"{path.name} {words}."})
