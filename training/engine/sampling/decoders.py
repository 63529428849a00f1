"""Logits of a growing batch of texts: a decoder holds the keys and values of the rows it has read.

Two of them: `StaticDecoder` is a forward pass of our own for the GPT-2 architecture (Radford et al. 2019), since most
of a small model's step in transformers is overhead; `TransformersDecoder` reads any other causal model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch

from training.engine.sampling.linears import Linear, linear
from training.engine.types import Precision

F = torch.nn.functional
BLOCK = 16
"""Positions by which the cache grows."""

FEW = 48
"""Heads of all rows, up to which attention in bfloat16 costs more in preparation than it saves."""

PREFILL_TOKENS = 8192
"""How many tokens of prompts are read at once."""

_SLOPE = 2 * (2 / torch.pi) ** 0.5
_SLOPE_TENSOR = torch.tensor(_SLOPE)


def _gelu(x: torch.Tensor) -> torch.Tensor:
    """The tanh form of GELU (Hendrycks and Gimpel 2016) as x · sigmoid(2 √(2/π) (x + 0.044715 x³)), which is the same
    function: torch's own kernel takes twice as long. `x` is float32 or is left to torch.
    """
    if x.dtype != torch.float32 or x.device.type != "cpu":
        return F.gelu(x, approximate="tanh")
    return torch.addcmul(_SLOPE_TENSOR, x, x, value=0.044715 * _SLOPE).mul_(x).sigmoid_().mul_(x)


_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu_new": _gelu,
    "gelu_pytorch_tanh": _gelu,
    "gelu": F.gelu,
    "relu": F.relu,
}


class Decoder(Protocol):
    """Rows join by `prefill`, advance by `step` and leave by `drop`. Logits are float32 [rows, vocabulary]."""

    device: torch.device

    def prefill(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Reads the prompts as new rows behind the others; the logits after each."""
        ...

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Reads one more token of every row (int64 [rows], in the rows' order); the logits after each."""
        ...

    def drop(self, rows: Collection[int]) -> list[int]:
        """Forgets these rows. Returns the former numbers of those that remain, in their new order."""
        ...

    def capacity(self, length: int) -> int:
        """How many rows of `length` tokens there is memory for."""
        ...


def is_plain_gpt2(network: Any) -> bool:
    """Whether this is a GPT-2 without anything the own forward pass does not know (adapters, other scalings)."""
    from transformers.pytorch_utils import Conv1D

    config = network.config
    return (
        type(network).__name__ == "GPT2LMHeadModel"
        and all(type(m) is Conv1D for n, m in network.named_modules() if n.endswith(("c_attn", "c_proj", "c_fc")))
        and type(network.lm_head) is torch.nn.Linear
        and config.activation_function in _ACTIVATIONS
        and config.scale_attn_weights
        and not config.scale_attn_by_inverse_layer_idx
        and not config.add_cross_attention
    )


class _Layer:
    """One block's norms and products."""

    def __init__(self, block: Any, make: Callable[[torch.Tensor, torch.Tensor], Linear], heads: int) -> None:
        self.before_attention = (block.ln_1.weight, block.ln_1.bias)
        self.before_mlp = (block.ln_2.weight, block.ln_2.bias)
        qkv, out, up, down = block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj
        scales = torch.ones_like(qkv.bias)  # the scaling of scores goes into the queries
        scales[: len(scales) // 3] = (len(scales) // 3 // heads) ** -0.5
        self.qkv, self.out = make(qkv.weight * scales, qkv.bias * scales), make(out.weight, out.bias)
        self.up, self.down = make(up.weight, up.bias), make(down.weight, down.bias)


class Weights:
    """A GPT-2's weights, made ready for decoding."""

    def __init__(self, network: Any, compute: torch.dtype, precision: Precision) -> None:
        config, body = network.config, network.transformer

        def make(weight: torch.Tensor, bias: torch.Tensor) -> Linear:  # Conv1D keeps its weight as [in, out]
            return linear(weight.t(), bias, compute, precision)

        self.layers = [_Layer(block, make, config.n_head) for block in body.h]
        self.tokens, self.places = body.wte.weight, body.wpe.weight
        self.last = (body.ln_f.weight, body.ln_f.bias)
        self.head = linear(network.lm_head.weight, network.lm_head.bias, compute, precision)
        self.activation = _ACTIVATIONS[config.activation_function]
        self.epsilon, self.heads, self.width = config.layer_norm_epsilon, config.n_head, config.n_embd
        self.device = self.tokens.device
        # int8 products answer in float32: to make bfloat16 of that for the cache costs few rows more than it saves.
        self.cached = torch.float32 if precision == "fast" and self.device.type == "cpu" else compute


class StaticDecoder:
    """GPT-2 with keys and values in blocks that are allocated ahead.

    A layer has keys [rows, heads, width of a head, positions] and values [rows, heads, positions, width of a head],
    with hardly more positions than the longest row needs: so a batch is one piece of memory, and oneDNN, which prepares
    itself for every new shape, sees few. What lies behind a row's own length is masked. On a GPU the layers are
    compiled.
    """

    MEMORY = 2 * 2**30
    """Bytes that keys and values may take."""

    def __init__(self, weights: Weights) -> None:
        self._weights, self.device = weights, weights.device
        self._lengths = torch.zeros(0, dtype=torch.long, device=weights.device)
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._layers = self._read
        if weights.device.type == "cuda":  # untried: no GPU was at hand
            self._layers = torch.compile(self._read, dynamic=True)

    def capacity(self, length: int) -> int:
        """How many rows of `length` tokens there is memory for."""
        weights = self._weights
        per_token = 2 * weights.width * len(weights.layers) * weights.cached.itemsize
        return int(max(1, self.MEMORY // (per_token * length)))

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Equal prompts are read once. See `Decoder`."""
        unique = list(dict.fromkeys(map(tuple, prompts)))
        unique.sort(key=len)
        first = len(self._lengths)
        self._reserve(first + len(prompts), max(map(len, prompts)) + 1)
        places: dict[tuple[int, ...], list[int]] = {prompt: [] for prompt in unique}
        for row, prompt in enumerate(prompts):
            places[tuple(prompt)].append(row)
        logits: torch.Tensor | None = None
        while unique:
            some = unique[: max(1, PREFILL_TOKENS // len(unique[0]))]
            while len(some) > 1 and len(some) * len(some[-1]) > PREFILL_TOKENS:
                some.pop()
            unique = unique[len(some) :]
            rows = [row for prompt in some for row in places[prompt]]
            source = torch.tensor([i for i, prompt in enumerate(some) for _ in places[prompt]])
            found = self._prompts(some, first + torch.tensor(rows), source)
            logits = found.new_empty(len(prompts), found.shape[1]) if logits is None else logits
            logits[rows] = found[source.to(found.device)]
        own = torch.tensor([len(prompt) for prompt in prompts], device=self._weights.device)
        self._lengths = torch.cat([self._lengths, own])
        assert logits is not None
        return logits

    @torch.inference_mode()
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Decoder`."""
        shortest, longest = int(self._lengths.min()), int(self._lengths.max())
        self._reserve(len(tokens), longest + 1)
        unseen = torch.arange(self._values[0].shape[2], device=self.device) > self._lengths[:, None]
        # A number here would be compiled in: a graph of its own for every length.
        same = longest if shortest == longest and self.device.type == "cpu" else None
        logits: torch.Tensor = self._layers(tokens, self._lengths, unseen[:, None], same)
        self._lengths = self._lengths + 1
        return logits

    @torch.inference_mode()
    def drop(self, rows: Collection[int]) -> list[int]:
        """Fills the gaps with the last rows, which moves the least memory. See `Decoder`."""
        count = len(self._lengths) - len(rows)
        order = list(range(count))
        gaps = [row for row in sorted(rows) if row < count]
        tail = [row for row in range(count, len(self._lengths)) if row not in rows]
        for gap, row in zip(gaps, tail, strict=True):
            order[gap] = row
        if gaps:
            longest = int(self._lengths.max())
            to, source = torch.tensor(gaps), torch.tensor(tail)
            for keys, values in zip(self._keys, self._values, strict=True):
                keys[to, :, :, :longest] = keys[source, :, :, :longest]
                values[to, :, :longest] = values[source, :, :longest]
        self._lengths = self._lengths[torch.tensor(order, dtype=torch.long)]
        return order

    def _read(
        self, tokens: torch.Tensor, lengths: torch.Tensor, unseen: torch.Tensor, same: int | None
    ) -> torch.Tensor:
        """The logits after `tokens`; `same` is the length of all rows where they have the same, `unseen` [rows, 1,
        positions] what lies behind a row's own.
        """
        weights, count = self._weights, len(tokens)
        hidden = weights.tokens[tokens] + weights.places[lengths]
        rows = torch.arange(count, device=tokens.device)
        for layer, keys, values in zip(weights.layers, self._keys, self._values, strict=True):
            qkv = layer.qkv(self._norm(hidden, layer.before_attention)).to(weights.cached)
            query, key, value = qkv.view(count, 3, weights.heads, -1).unbind(1)
            if same is None:
                keys[rows, :, :, lengths], values[rows, :, lengths] = key, value
            else:
                keys[:count, :, :, same], values[:count, :, same] = key, value
            read = self._attend(query, keys[:count], values[:count], unseen)
            hidden = self._after_attention(layer, hidden, read.view(count, -1))
        return self._logits(hidden)

    def _prompts(self, prompts: Sequence[Sequence[int]], rows: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Reads prompts, padded on the right; keeps those of `source` as `rows`; the logits after each prompt."""
        weights, longest = self._weights, max(map(len, prompts))
        ids = torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts], device=weights.device)
        hidden = (weights.tokens[ids] + weights.places[:longest]).view(-1, weights.width)
        for layer, keys, values in zip(weights.layers, self._keys, self._values, strict=True):
            qkv = layer.qkv(self._norm(hidden, layer.before_attention)).to(weights.cached)
            query, key, value = qkv.view(len(prompts), longest, 3, weights.heads, -1).permute(2, 0, 3, 1, 4)
            keys[rows, :, :, :longest] = key.transpose(2, 3)[source]
            values[rows, :, :longest] = value[source]
            values[rows, :, longest:] = 0  # left by a row that may have had no numbers; see `_reserve`
            read = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
            hidden = self._after_attention(layer, hidden, read.transpose(1, 2).reshape(len(hidden), -1))
        last = torch.tensor([row * longest + len(prompt) - 1 for row, prompt in enumerate(prompts)])
        return self._logits(hidden[last])

    @staticmethod
    def _attend(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, unseen: torch.Tensor) -> torch.Tensor:
        """Dot-product attention of one query per row and head: [rows · heads, 1, width of a head]."""
        scores = _products(query.flatten(0, 1)[:, None], keys.flatten(0, 1))
        scores.view(len(keys), -1, keys.shape[-1]).masked_fill_(unseen, -torch.inf)
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(values.dtype)
        return _products(weights, values.flatten(0, 1))

    def _after_attention(self, layer: _Layer, hidden: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        hidden += layer.out(read)
        inner = self._weights.activation(layer.up(self._norm(hidden, layer.before_mlp)))
        hidden += layer.down(inner)
        return hidden

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._weights.head(self._norm(hidden, self._weights.last)).float()

    def _norm(self, hidden: torch.Tensor, weights: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return F.layer_norm(hidden, (self._weights.width,), *weights, self._weights.epsilon)

    def _reserve(self, rows: int, positions: int) -> None:
        """Room for so many rows and positions, and not for many more positions. It is zeroed, since what is masked must
        still be a number.
        """
        weights, had = self._weights, (0, 0)
        if self._values:
            had = self._values[0].shape[0], self._values[0].shape[2]
        positions = min(-(-positions // BLOCK) * BLOCK, len(weights.places))
        if rows <= had[0] and positions <= had[1] <= positions + 4 * BLOCK:
            return
        rows, width = max(rows, had[0]), weights.width // weights.heads
        self._keys = self._resized(self._keys, (rows, weights.heads, width, positions))
        self._values = self._resized(self._values, (rows, weights.heads, positions, width))

    def _resized(self, layers: list[torch.Tensor], shape: tuple[int, ...]) -> list[torch.Tensor]:
        count, weights = len(self._lengths), self._weights
        resized = []
        for at in range(len(weights.layers)):
            room = torch.zeros(shape, dtype=weights.cached, device=weights.device)
            if count:
                kept = layers[at][:count, :, : shape[2], : shape[3]]
                room[:count, :, : kept.shape[2], : kept.shape[3]] = kept
                layers[at] = kept[:0]  # the old one goes before the next new one comes
            resized.append(room)
        return resized


def _products(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """A product of each pair of matrices. Few of them are quicker in float32, which for bfloat16 numbers gives the same
    products: those sums too are rounded only at the end.
    """
    if len(right) > FEW or right.dtype != torch.bfloat16 or right.device.type != "cpu":
        return torch.bmm(left, right)
    return torch.bmm(left.float(), right.float()).to(right.dtype)


class _Group:
    """Rows that were read together: transformers' cache of them, their mask where prompts differ in length."""

    def __init__(self, rows: int, cache: Any, mask: torch.Tensor | None, position: torch.Tensor) -> None:
        self.rows, self.cache, self.mask, self.position = rows, cache, mask, position


class TransformersDecoder:
    """Any causal model, by transformers' own forward pass and cache. Rows that joined together stay one group: caches
    of different architectures cannot be joined in one way.
    """

    ROWS = 256

    def __init__(
        self,
        network: Any,
        autocast: Callable[[], AbstractContextManager[Any]],
        products: AbstractContextManager[Any] | None = None,
    ) -> None:
        """`products` is the context in which `network` computes, see `ReadyProducts`."""
        self._network, self._autocast, self._products = network, autocast, products or nullcontext()
        self.device = next(network.parameters()).device
        self._groups: list[_Group] = []

    def capacity(self, length: int) -> int:
        """The same for every length: how much a row takes depends on the architecture."""
        return self.ROWS

    def prefill(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """See `Decoder`."""
        longest = max(map(len, prompts))
        ids = torch.tensor([[*[0] * (longest - len(p)), *p] for p in prompts], device=self.device)
        pads = torch.tensor([longest - len(p) for p in prompts], device=self.device)[:, None]
        places = torch.arange(longest, device=self.device)
        mask = (places >= pads).long() if bool(pads.any()) else None
        group = _Group(len(prompts), None, mask, (places - pads).clamp(min=0))
        self._groups.append(group)
        return self._forward(group, ids)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Decoder`."""
        found = []
        for group, own in zip(self._groups, torch.split(tokens, [g.rows for g in self._groups]), strict=True):
            group.position = group.position[:, -1:] + 1
            if group.mask is not None:
                group.mask = torch.cat([group.mask, torch.ones_like(group.mask[:, :1])], dim=1)
            found.append(self._forward(group, own[:, None]))
        return torch.cat(found)

    def drop(self, rows: Collection[int]) -> list[int]:
        """See `Decoder`."""
        order: list[int] = []
        first = 0
        for group in self._groups:
            kept = [row for row in range(first, first + group.rows) if row not in rows]
            if kept and len(kept) < group.rows:
                index = torch.tensor(kept, device=self.device) - first
                group.cache.batch_select_indices(index)
                group.mask = None if group.mask is None else group.mask[index]
                group.position = group.position[index]
            first, group.rows = first + group.rows, len(kept)
            order += kept
        self._groups = [group for group in self._groups if group.rows]
        return order

    @torch.no_grad()
    def _forward(self, group: _Group, ids: torch.Tensor) -> torch.Tensor:
        with self._autocast(), self._products:
            output = self._network(
                input_ids=ids,
                attention_mask=group.mask,
                position_ids=group.position,
                past_key_values=group.cache,
                use_cache=True,
                logits_to_keep=1,
            )
        group.cache = output.past_key_values
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits
