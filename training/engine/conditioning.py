"""What a post is written under, as a prompt that the model reads and never has to write.

`[end] <|author|> ann <|community|> r/tea <|topic|> kettles <|context|> what it answers <|post|> the post [end]`, each
part only where something is known; a post of which nothing is known stays `[end] post [end]`. The marks are special
tokens, and users' text is encoded without special tokens: nobody can forge one, not in a name and not in a context.

A model has the marks of the conditions it was taught, and `<|post|>`: what it cannot read is refused, not ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from training.engine.packing import IGNORED, PackedRows
from training.engine.tokenizer import PostTokenizer
from training.engine.types import CONDITIONS, Conditions, FinetuneConfig, Prompt, TrainingPost

if TYPE_CHECKING:
    from training.engine.models.causal import CausalLanguageModel

POST_MARK = "<|post|>"
LABEL_TOKENS = 32
"""How much of an author, a community or a topic is read."""


def mark(name: str) -> str:
    """The special token before the condition `name`."""
    return f"<|{name}|>"


def chosen(config: FinetuneConfig) -> tuple[str, ...]:
    """The conditions that a training asks for. Raises ValueError for one there is not."""
    wanted = {name.strip() for name in config.conditions.split(",") if name.strip()}
    if unknown := wanted - set(CONDITIONS):
        raise ValueError(f"There is no condition “{min(unknown)}”. Known are: {', '.join(CONDITIONS)}.")
    return tuple(name for name in CONDITIONS if name in wanted)


def known(tokenizer: PostTokenizer) -> tuple[str, ...]:
    """The conditions that a model with this tokenizer was taught to read."""
    return tuple(name for name in CONDITIONS if tokenizer.special_id(mark(name)) is not None)


@torch.no_grad()
def teach(model: CausalLanguageModel, names: Sequence[str]) -> None:
    """Give the model the marks of these conditions, those it has excepted. Nothing without names.

    New rows of the embeddings are the mean of the old ones: the likeliest place for a token that is yet to be learned
    (Hewitt 2021, "Initializing new word embeddings for pretrained language models").
    """
    if not names:
        return
    tokenizer = model.tokenizer
    before = tokenizer.vocab_size
    tokenizer.add_special([*(mark(name) for name in names), POST_MARK])
    network = model.network
    rows = network.get_input_embeddings().weight.shape[0]
    if tokenizer.vocab_size > rows:
        network.resize_token_embeddings(tokenizer.vocab_size, mean_resizing=False)
    tables = {
        id(part.weight): part.weight for part in (network.get_input_embeddings(), network.get_output_embeddings())
    }
    for weight in tables.values():
        weight[before : tokenizer.vocab_size] = weight[:before].mean(dim=0)


@dataclass(frozen=True)
class _Parts:
    """A document's prompt before and after the context, the context and the words, as token ids."""

    head: list[int]
    context: list[int]
    tail: list[int]
    words: list[int]

    @property
    def fixed(self) -> int:
        """How long the prompt is without its context."""
        return len(self.head) + len(self.tail)

    def ids(self, room: int) -> list[int]:
        """The ids in at most `room` tokens: the context is cut from the left, and left out before anything else is."""
        space = room - self.fixed - len(self.words) - 1
        if not self.context or space < 1:
            return self.head + self.tail + self.words
        return [*self.head, self.context[0], *self.context[1:][-space:], *self.tail, *self.words]


def documents(
    tokenizer: PostTokenizer, posts: Sequence[TrainingPost], config: FinetuneConfig, room: int
) -> list[list[int]]:
    """Each post as the model learns it. In `room` tokens, to which it will be cut, there is its whole prompt and at
    least half of them for its words: contexts are cut first, and a prompt that is longer still is left out.

    A share `condition_dropout` of the posts goes without its prompt, so that the model also writes unasked; which ones
    follows from the seed and the post's place.
    """
    names = chosen(config)
    if not names:
        return tokenizer.documents([post.text for post in posts])
    dropped = np.random.default_rng([config.seed, len(posts)]).random(len(posts)) < config.condition_dropout
    texts = tokenizer.encode_all([post.text for post in posts])
    answer = []
    for post, words, bare in zip(posts, texts, dropped, strict=True):
        conditions = Conditions() if bare else post.conditions
        parts = _parts(tokenizer, _values(conditions, names), [*words, tokenizer.end_id])
        ids = parts.ids(room)
        answer.append(ids if len(ids) <= room or parts.fixed < room / 2 else [tokenizer.end_id, *parts.words])
    return answer


def prompt_ids(tokenizer: PostTokenizer, prompt: Prompt, room: int) -> list[int]:
    """What the model goes on from, in at most `room` tokens where the context can be cut to it.

    Raises ValueError for a condition that the model was not taught to read.
    """
    values = _values(prompt.conditions, CONDITIONS)
    readable = known(tokenizer)
    for name in values:
        if name not in readable:
            what = f"it reads: {', '.join(readable)}" if readable else "it reads none"
            raise ValueError(
                f"This model was not taught to write under a given {name} ({what}). "
                f"Leave the {name} out, or fine-tune a model with “{name}” among its conditions."
            )
    return _parts(tokenizer, values, tokenizer.encode(prompt.prefix)).ids(room)


def without_prompts(rows: PackedRows, tokenizer: PostTokenizer) -> PackedRows:
    """The same rows with the loss on the posts and their ends alone: nobody asks the model to write names.

    Everything from a document's start to its `<|post|>` is a prompt; a document without one is scored whole.
    """
    post_id = tokenizer.special_id(POST_MARK)
    if post_id is None:
        return rows
    starts = rows.position_ids == 0
    number = starts.long().cumsum(dim=1)
    marked = (rows.input_ids == post_id).long()
    width = rows.input_ids.shape[1] + 1
    in_document = torch.zeros(rows.input_ids.shape[0], width, dtype=torch.long).scatter_add_(1, number, marked)
    has_prompt = in_document.gather(1, number) > 0
    seen = marked.cumsum(dim=1)
    before = (seen - marked).masked_fill(~starts, 0).cummax(dim=1).values
    in_prompt = has_prompt & (seen - before < 1)
    return replace(rows, targets=rows.targets.masked_fill(in_prompt, IGNORED))


def _values(conditions: Conditions, names: Sequence[str]) -> dict[str, str]:
    """The conditions among `names` of which something is known."""
    return {name: value for name in names if (value := getattr(conditions, name).strip())}


def _parts(tokenizer: PostTokenizer, values: Mapping[str, str], words: list[int]) -> _Parts:
    if not values:
        return _Parts([tokenizer.end_id], [], [], words)
    head = [tokenizer.end_id]
    for name in CONDITIONS[:-1]:
        if name in values:
            head += [_mark_id(tokenizer, name), *tokenizer.encode(values[name])[:LABEL_TOKENS]]
    context: list[int] = []
    if "context" in values:
        context = [_mark_id(tokenizer, "context"), *tokenizer.encode(values["context"])]
    return _Parts(head, context, [_mark_id(tokenizer, "post")], words)


def _mark_id(tokenizer: PostTokenizer, name: str) -> int:
    found = tokenizer.special_id(mark(name))
    if found is None:
        raise ValueError(f"The tokenizer has no {mark(name)}: call `teach` first.")
    return found
