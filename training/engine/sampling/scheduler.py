"""Requests of many bots in one batch: rows join between steps as others end, and each request is answered as soon as
its own texts are done.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from training.engine.conditioning import prompt_ids
from training.engine.sampling import texts
from training.engine.sampling.decoders import Decoder
from training.engine.sampling.filters import Filters, check, pick, stream
from training.engine.tokenizer import PostTokenizer
from training.engine.types import Answer, Prompt, Sample, TextRequest

MAX_ROWS = 256
"""Texts that are written at the same time."""

CHECK_EVERY = 8
"""Tokens between two looks at a text's length: what a look finds too long is cut back, so only work is lost."""

NO_NUMBERS = (
    "The model gives no numbers to draw from: some of its weights are not numbers, or so large that they overflow. "
    "Choose another model version, or make this one anew."
)


class _Row:
    """One text under way."""

    def __init__(self, request: _Request, index: int, prompt: str, ids: Sequence[int], steps: int) -> None:
        self.request, self.index, self.prompt, self.ids, self.steps = request, index, prompt, list(ids), steps
        self.uniforms: np.ndarray[Any, np.dtype[np.float64]] = stream(request.asked.params, index)
        self.tokens: list[int] = []
        self.logprobs: list[float] = []

    @property
    def length(self) -> int:
        """Tokens it may come to, the prompt's included."""
        return len(self.ids) + self.steps

    def written(self, end_id: int) -> list[int]:
        """What the repetition penalty looks at: the row's own tokens and its prompt's. Never the end token: a penalty
        on it would keep posts from ending.
        """
        return [token for token in (*self.ids, *self.tokens) if token != end_id]


class _Request:
    """A request and the texts it has so far."""

    def __init__(self, asked: TextRequest) -> None:
        self.asked = asked
        self.rows: list[_Row] = []
        self.samples: dict[int, Sample] = {}
        self.broken = False
        """The model gave no numbers for one of its rows."""

    def all_samples(self) -> tuple[Sample, ...]:
        return tuple(self.samples[index] for index in range(len(self.rows)))


class Scheduler:
    """Continuous batching (Yu et al. 2022, "Orca") over one model.

    Waiting rows are taken from each owner in turn. There is no pre-emption: who comes when every row is taken waits for
    the first that ends.
    """

    def __init__(self, decoder: Decoder, tokenizer: PostTokenizer, positions: int) -> None:
        self._decoder, self._tokenizer, self._positions = decoder, tokenizer, positions
        self._waiting: OrderedDict[str, deque[_Row]] = OrderedDict()
        self._requests: dict[str, _Request] = {}
        self._live: list[_Row] = []

    @property
    def busy(self) -> bool:
        """Whether a request is unanswered."""
        return bool(self._requests)

    def add(self, asked: TextRequest) -> None:
        """Take a request on. A context is cut from the left to leave the text its tokens.

        Raises `ValueError` for parameters out of range, a prompt that leaves no room, a condition that the model was
        not taught to read, and a key that is taken.
        """
        params = asked.params
        check(params)
        if asked.key in self._requests:
            raise ValueError(f"There is a request {asked.key!r} already.")
        room = max(self._positions - params.max_new_tokens, self._positions // 2)
        request = _Request(asked)
        for index, each in enumerate(asked.prompts):
            prompt = Prompt(each) if isinstance(each, str) else each
            ids = prompt_ids(self._tokenizer, prompt, room)
            if len(ids) >= self._positions:
                raise ValueError(
                    f"A prompt of {len(ids)} tokens leaves no room: this model reads {self._positions}. "
                    "Shorten the prompt."
                )
            if not texts.fits(asked.limit, prompt.prefix):
                raise ValueError("The words to begin with are longer than the text may be. Shorten them.")
            steps = min(params.max_new_tokens, self._positions - len(ids))
            request.rows.append(_Row(request, index, prompt.prefix, ids, steps))
        if request.rows:
            self._requests[asked.key] = request
            self._waiting.setdefault(asked.owner, deque()).extend(request.rows)

    def pieces(self, sample: Sample) -> tuple[str, ...]:
        """What each token of a sample adds to its text; see `texts.pieces`."""
        return tuple(texts.pieces(self._tokenizer, sample.token_ids, sample.text))

    def texts(self, key: str) -> list[str]:
        """The texts of an unanswered request so far, without the words they were to begin with: whole characters,
        within the limit.
        """
        request = self._requests[key]
        return [
            request.samples[row.index].text if row.index in request.samples else self._so_far(row)
            for row in request.rows
        ]

    def step(self) -> list[Answer]:
        """One more token for every row, and the first for those that join. Returns the requests that are done, and
        those that ended without texts because the model gave no numbers for them.
        """
        if self._live:
            last = torch.tensor([row.tokens[-1] for row in self._live], device=self._decoder.device)
            self._draw(self._live, self._decoder.step(last))
            self._drop()
        if joining := self._joining():
            logits = self._decoder.prefill([row.ids for row in joining])
            self._live += joining
            self._draw(joining, logits)
            self._drop()
        return self._broken() + self._done()

    def _done(self) -> list[Answer]:
        done = [key for key, request in self._requests.items() if len(request.samples) == len(request.rows)]
        return [Answer(key, self._requests.pop(key).all_samples()) for key in done]

    def _broken(self) -> list[Answer]:
        broken = [key for key, request in self._requests.items() if request.broken]
        for key in broken:
            owner, gone = self._requests[key].asked.owner, self._requests.pop(key)
            if left := [row for row in self._waiting.pop(owner, ()) if row.request is not gone]:
                self._waiting[owner] = deque(left)
        return [Answer(key, (), NO_NUMBERS) for key in broken]

    def _joining(self) -> list[_Row]:
        """The next rows, one of each owner in turn, as many as there is room for."""
        joining: list[_Row] = []
        longest = max((row.length for row in self._live), default=1)
        while self._waiting and (count := len(self._live) + len(joining)) < MAX_ROWS:
            owner, rows = next(iter(self._waiting.items()))
            longest = max(longest, rows[0].length)
            if count and count >= self._decoder.capacity(longest):
                break
            joining.append(rows.popleft())
            del self._waiting[owner]
            if rows:
                self._waiting[owner] = rows
        return joining

    def _draw(self, rows: Sequence[_Row], logits: torch.Tensor) -> None:
        """The next token of each row; rows that are done with it leave their sample."""
        end_id, written = self._tokenizer.end_id, []
        filters = Filters.of([row.request.asked.params for row in rows], logits.device)
        uniforms = torch.tensor([row.uniforms[len(row.tokens)] for row in rows], device=logits.device)
        if filters.repetition_penalty is not None:
            written = [row.written(end_id) for row in rows]
        tokens, logprobs = pick(logits, uniforms, filters, written)
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            if math.isnan(logprob):
                row.request.broken = True
                continue
            row.logprobs.append(logprob)
            if token == end_id:
                self._finish(row)
                continue
            row.tokens.append(token)
            if self._is_over(row):
                self._finish(row)

    def _drop(self) -> None:
        over = {at for at, row in enumerate(self._live) if row.request.broken or row.index in row.request.samples}
        if over:
            self._live = [self._live[row] for row in self._decoder.drop(over)]

    def _is_over(self, row: _Row) -> bool:
        limit = row.request.asked.limit
        if len(row.tokens) >= row.steps:
            return True
        look = limit is not None and len(row.tokens) % CHECK_EVERY == 0
        return look and not texts.fits(limit, row.prompt + texts.whole(self._tokenizer, row.tokens))

    def _finish(self, row: _Row) -> None:
        """A text that is too long keeps its longest beginning of whole characters and counts as cut off: an end put
        there by force would pass it off as a whole post.
        """
        limit, tokens = row.request.asked.limit, row.tokens
        ended = len(row.logprobs) > len(tokens)
        text = self._tokenizer.decode(tokens) if ended else texts.whole(self._tokenizer, tokens)
        if limit is not None and not texts.fits(limit, row.prompt + text):
            tokens, ended = tokens[: texts.longest_within(self._tokenizer, row.prompt, tokens, limit)], False
            text = self._tokenizer.decode(tokens)
        logprobs = tuple(row.logprobs[: len(tokens) + ended])
        row.request.samples[row.index] = Sample(
            text=text,
            token_ids=tuple(tokens),
            logprob=sum(logprobs),
            ended=ended,
            prompt=row.prompt,
            token_logprobs=logprobs,
        )

    def _so_far(self, row: _Row) -> str:
        text, limit = texts.whole(self._tokenizer, row.tokens), row.request.asked.limit
        if limit is None or texts.fits(limit, row.prompt + text):
            return text
        kept = texts.longest_within(self._tokenizer, row.prompt, row.tokens, limit)
        return self._tokenizer.decode(row.tokens[:kept])
