"""Toxicity by a text classifier of the hub, or of a local folder: x in [0, 1] for each text.

Multi-label classifiers (one output per kind of harm, each by its own sigmoid) answer with their most harmful label;
single-label ones (softmax) with all that is not harmless. Which labels are harmful is read from their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from training.engine.errors import ModelUnavailable
from training.engine.round_types import RoundOutput

HARMFUL = ("tox", "hate", "insult", "obscen", "threat", "offens", "abus", "harass", "attack", "profan")
HARMLESS = ("non", "not", "neutral", "normal", "clean", "safe", "ok")
MOST_TOKENS = 512
BATCH = 16


class ToxicityClassifier:
    """A sequence classifier whose labels say which of them are harmful."""

    def __init__(self, name: str) -> None:
        """Raises ModelUnavailable when the model cannot be loaded or no label of it is harmful by name."""
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)  # nosec B615 # neither code nor pickle
            network = AutoModelForSequenceClassification.from_pretrained(  # nosec B615 # neither code nor pickle
                name, use_safetensors=True, trust_remote_code=False
            )
            self._tokenizer, self._network = tokenizer, network.eval()
        except (OSError, ValueError) as error:
            raise ModelUnavailable(
                f"The toxicity classifier “{name}” could not be loaded: check its name and the network. ({error})"
            ) from error
        labels = self._network.config.id2label
        self._harmful = [number for number, label in sorted(labels.items()) if is_harmful(str(label))]
        if not self._harmful:
            raise ModelUnavailable(
                f"None of the labels of “{name}” sounds harmful ({', '.join(map(str, labels.values()))}): "
                "choose a classifier of toxicity, hate or insults."
            )

    @torch.no_grad()
    def score(self, texts: Sequence[str]) -> list[float]:
        """x for each text, in the order given. Texts beyond 512 tokens are cut."""
        found: list[float] = []
        for start in range(0, len(texts), BATCH):
            batch = self._tokenizer(
                list(texts[start : start + BATCH]),
                padding=True,
                truncation=True,
                max_length=MOST_TOKENS,
                return_tensors="pt",
            )
            found += self._toxicity(self._network(**batch).logits).tolist()
        return found

    def _toxicity(self, logits: torch.Tensor) -> torch.Tensor:
        """(n, labels) → (n,)."""
        config = self._network.config
        if config.num_labels == 1 or config.problem_type == "multi_label_classification":
            return torch.sigmoid(logits)[:, self._harmful].amax(dim=1)
        return torch.softmax(logits, dim=1)[:, self._harmful].sum(dim=1)


@lru_cache(maxsize=1)
def _classifier(name: str) -> ToxicityClassifier:
    """Kept for the next round."""
    return ToxicityClassifier(name)


def judged(output: RoundOutput, classifier: str) -> RoundOutput:
    """A round's proposals with their toxicity. Without a classifier (“”), or where it cannot be had, they have none: in
    the second case a decision says so.
    """
    if not classifier or not output.proposals:
        return output
    try:
        found = _classifier(classifier).score([proposal.text for proposal in output.proposals])
    except ModelUnavailable as error:
        reason = f"Toxicity was judged by the built-in word list alone. {error}"
        return replace(output, decisions=(*output.decisions, reason))
    proposals = (replace(proposal, toxicity=x) for proposal, x in zip(output.proposals, found, strict=True))
    return replace(output, proposals=tuple(proposals))


def is_harmful(label: str) -> bool:
    """Whether a label's name tells of harm: “toxic”, “severe_toxicity”, “HATE”; not “non-toxic” or “neutral”."""
    name = label.casefold()
    return any(word in name for word in HARMFUL) and not name.startswith(HARMLESS)
