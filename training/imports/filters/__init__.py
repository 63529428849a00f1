"""What can be left out of a dataset: name → label, description, parameters and check, imported on first use.

Filters look at a row in the order of this dictionary, whatever order they were chosen in, the cheap ones first; a row
is dropped by the first that objects. A factory takes its parameters by name and returns a check of its own for one
reading, which may remember what it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from training.imports.contract import ImportedRow

Check = Callable[[ImportedRow], str | None]
"""Why the row is left out, in words for people; None keeps it."""
Chosen = Mapping[str, Mapping[str, Any]]
"""Filter → its parameters; those that are missing have their defaults."""

MOST_WORDS = 10_000


@dataclass(frozen=True)
class Parameter:
    """`number`s lie between `low` and `high`; `words` are a list of texts."""

    label: str
    kind: Literal["number", "words"]
    default: float | tuple[str, ...]
    low: float = 0.0
    high: float = 1000.0


@dataclass(frozen=True)
class Filter:
    """One entry; `factory` is a dotted path."""

    label: str
    description: str
    factory: str
    parameters: Mapping[str, Parameter]

    def check(self, given: Mapping[str, Any]) -> Check:
        """The check with these parameters, in working order for one reading of a file."""
        module, _, name = self.factory.rpartition(".")
        make: Callable[..., Check] = getattr(import_module(module), name)
        return make(**{name: given.get(name, each.default) for name, each in self.parameters.items()})


_HERE = "training.imports.filters"
FILTERS: dict[str, Filter] = {
    "reposts": Filter("Reposts", "What others wrote and the account only passed on.", f"{_HERE}.shape.reposts", {}),
    "replies": Filter("Replies", "Answers to somebody.", f"{_HERE}.shape.replies", {}),
    "mentions_only": Filter("Mentions only", "Nothing but names of accounts.", f"{_HERE}.shape.mentions_only", {}),
    "links_only": Filter(
        "Links only", "Nothing but addresses, and names of accounts.", f"{_HERE}.shape.links_only", {}
    ),
    "too_short": Filter(
        "Too short",
        "Fewer words than you say; addresses and names of accounts do not count.",
        f"{_HERE}.shape.too_short",
        {"min_words": Parameter("Fewest words", "number", 3, 1, 100)},
    ),
    "known_bots": Filter(
        "Known bots",
        "Accounts called bot or AutoModerator, those that you name, and posts that say “I am a bot”.",
        f"{_HERE}.bots.known_bots",
        {"accounts": Parameter("Further accounts", "words", ())},
    ),
    "blocklist": Filter(
        "Blocklist", "Posts with one of your words or phrases.", f"{_HERE}.blocklist.blocklist",
        {"words": Parameter("Words and phrases", "words", ())},
    ),
    "personal_data": Filter(
        "Personal data",
        "E-mail and postal addresses, telephone, bank account and credit card numbers, addresses of computers.",
        f"{_HERE}.personal_data.personal_data",
        {},
    ),
    "language": Filter(
        "Other languages",
        "Posts in other languages than yours, by their commonest words and their script. "
        "Where that does not show, a post is kept.",
        f"{_HERE}.language.other_languages",
        {"languages": Parameter("Languages to keep", "words", ("en",))},
    ),
    "duplicates": Filter(
        "Duplicates", "The same words in answer to the same post, capitals and spaces apart.",
        f"{_HERE}.duplicates.duplicates", {},
    ),
    "near_duplicates": Filter(
        "Near-duplicates",
        "Posts that share most of their character 5-grams (Jaccard similarity) with one of the 50,000 posts kept "
        "before; addresses, names of accounts and punctuation do not count.",
        f"{_HERE}.near_duplicates.near_duplicates",
        {"similarity": Parameter("Similarity", "number", 0.8, 0.5, 1.0)},
    ),
}  # fmt: skip
DEFAULT_FILTERS: Chosen = {"duplicates": {}}


def in_order(chosen: Chosen) -> list[str]:
    """The names of the chosen filters in the order in which they look."""
    return [name for name in FILTERS if name in chosen]


def checks_of(chosen: Chosen) -> dict[str, Check]:
    """The chosen filters, ready for one reading of a file."""
    return {name: FILTERS[name].check(chosen[name]) for name in in_order(chosen)}


def checked_filters(given: object) -> dict[str, dict[str, Any]]:
    """What a person chose, complete and within bounds. Raises ValueError with words for people."""
    if not isinstance(given, Mapping):
        raise ValueError("Give the filters as an object of names and parameters.")
    answer = {}
    for name, parameters in given.items():
        if name not in FILTERS:
            raise ValueError(f"There is no filter “{name}”. Known are: {', '.join(FILTERS)}.")
        answer[str(name)] = _parameters(name, parameters)
    return answer


def _parameters(name: str, given: object) -> dict[str, Any]:
    known = FILTERS[name].parameters
    if not isinstance(given, Mapping) or set(given) - set(known):
        raise ValueError(f"The filter “{name}” takes {', '.join(known) or 'no parameters'}.")
    return {each: _value(each, known[each], given.get(each, known[each].default)) for each in known}


def _value(name: str, parameter: Parameter, value: object) -> Any:
    if parameter.kind == "words":
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"“{name}” must be a list of texts.")
        if len(words) > MOST_WORDS:
            raise ValueError(f"“{name}” may hold at most {MOST_WORDS:,} texts.")
        return [word.strip() for word in words if word.strip()]
    if isinstance(value, bool) or not isinstance(value, int | float) or not parameter.low <= value <= parameter.high:
        raise ValueError(f"“{name}” must be a number between {parameter.low:g} and {parameter.high:g}.")
    return value
