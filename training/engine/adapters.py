"""Which weights a training changes: all of them, all but those that patterns name, or low-rank adapters beside them
(LoRA, Hu et al. 2022, by peft).
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import torch

from training.engine.types import FinetuneConfig


def prepare(network: Any, config: FinetuneConfig) -> None:
    """Puts adapters into `network` where they are asked for, and freezes what is not to be trained.

    Raises `ValueError` for a pattern that nothing matches, and when nothing is left to train.
    """
    if config.method == "lora":
        _add_adapters(network, config)
    for pattern in _patterns(config.frozen):
        matched = [p for name, p in network.named_parameters() if fnmatchcase(_plain(name), pattern)]
        if not matched:
            raise ValueError(
                f"No weight of this model matches the frozen pattern “{pattern}”. Its weights are called like "
                f"“{next(iter(network.named_parameters()))[0]}”."
            )
        for parameter in matched:
            parameter.requires_grad_(False)
    if not any(p.requires_grad for p in network.parameters()):
        raise ValueError("Every weight is frozen, so there is nothing to train: freeze fewer of them.")
    if config.checkpoint_activations:
        network.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})


@contextlib.contextmanager
def merged(network: Any) -> Iterator[None]:
    """`network` as one without adapters, its weights W + BA·α/r under their plain names, while the context lasts."""
    layers = [(name, module) for name, module in network.named_modules() if hasattr(module, "get_delta_weight")]
    originals: list[tuple[str, Any, torch.Tensor]] = []
    try:
        for name, adapter in layers:
            weight = adapter.base_layer.weight
            originals.append((name, adapter, weight.detach().clone()))
            with torch.no_grad():  # in place, so that who keeps something made of the weights sees that they changed
                weight += adapter.get_delta_weight("default")
            network.set_submodule(name, adapter.base_layer)
        yield
    finally:
        for name, adapter, original in originals:
            with torch.no_grad():
                adapter.base_layer.weight.copy_(original)
            network.set_submodule(name, adapter)


def _add_adapters(network: Any, config: FinetuneConfig) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(config.seed)
    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type] # peft takes any number here
        lora_dropout=config.lora_dropout,
        target_modules=_targets(network, config.lora_targets),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that GPT-2's matrices are transposed: peft sees to it
        inject_adapter_in_model(settings, network)
    if config.conditions:  # the marks of conditions are new rows of the embeddings, which nothing else could teach
        network.get_input_embeddings().weight.requires_grad_(True)


def _targets(network: Any, patterns: str) -> list[str]:
    """The names of the linear layers that get an adapter."""
    from transformers.pytorch_utils import Conv1D

    head = network.get_output_embeddings()
    linear = [name for name, m in network.named_modules() if isinstance(m, torch.nn.Linear | Conv1D) and m is not head]
    if not patterns:
        return linear
    chosen: list[str] = []
    for pattern in _patterns(patterns):
        matched = [name for name in linear if fnmatchcase(name, pattern)]
        if not matched:
            raise ValueError(
                f"No linear layer of this model matches the LoRA target “{pattern}”. "
                f"Its layers are called like “{linear[0] if linear else ''}”."
            )
        chosen += matched
    return chosen


def _patterns(listed: str) -> list[str]:
    return [pattern.strip() for pattern in listed.split(",") if pattern.strip()]


def _plain(name: str) -> str:
    """A parameter's name as it is without adapters."""
    return name.replace(".base_layer.", ".")
