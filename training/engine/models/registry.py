"""Which kinds of language model there are. A kind is a name, a label for people and a class imported on first use."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from training.engine.errors import ModelUnavailable
from training.engine.models.base import LanguageModel

STARTER = "starter"
STARTER_FOLDER = Path(__file__).resolve().parents[2] / "starter"


@dataclass(frozen=True)
class Kind:
    """`path` is `module:class` of a `LanguageModel`."""

    label: str
    path: str


KINDS: dict[str, Kind] = {
    "causal": Kind("Causal language model (transformers)", "training.engine.models.causal:CausalLanguageModel"),
}


def model_class(kind: str) -> type[LanguageModel]:
    """The class of a kind. Raises `ModelUnavailable` for an unknown one."""
    if kind not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise ModelUnavailable(f"There is no kind of language model called {kind!r}. Choose one of: {known}.")
    module, name = KINDS[kind].path.split(":")
    loaded: type[LanguageModel] = getattr(import_module(module), name)
    return loaded


def load_model(source: str, *, kind: str = "causal", checksum: str | None = None) -> LanguageModel:
    """The model at `source`: `starter`, a folder, or a hub name. Raises as `LanguageModel.load` does."""
    return model_class(kind).load(source, checksum=checksum)
