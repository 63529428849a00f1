"""What other packages add: algorithms and language models, named by entry points (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import FunctionType
from typing import cast


@cache
def entries(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group, such as `kilroy.algorithms`; nothing is imported."""
    return tuple(entry_points(group=group))


def load(entry: EntryPoint, kind: type) -> object:
    """What an entry point names. Raises ValueError, naming its package, unless it is a `kind` that can be imported."""
    package = entry.dist.name if entry.dist else entry.value
    try:
        found = entry.load()
    except Exception as error:  # whatever a stranger's module does while it is imported
        raise ValueError(f"“{entry.name}” of {package} cannot be loaded ({error}): mend it or uninstall it.") from error
    if not isinstance(found, kind):
        raise ValueError(f"“{entry.name}” of {package} is no {kind.__name__}.")
    return found


@cache
def register_architectures() -> None:
    """Let each package's `kilroy.models` function make its architecture known to transformers' Auto classes: its models
    then load, train and write like all others. Once per process. Raises ValueError.
    """
    for entry in entries("kilroy.models"):
        cast("Callable[[], None]", load(entry, FunctionType))()
