"""The products inside a decoder: a layer's weights, packed once for the processor at hand.

`exact` computes as the model itself does. `fast` is int8 on CPUs: weights symmetric per output channel, activations
symmetric per token (each row is divided by its own largest entry, so that no row changes another's rounding), integer
sums, results in float32. Integer sums do not depend on the order of adding, so a row's products are the same in any
batch.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import torch

from training.engine.types import Precision

log = logging.getLogger(__name__)

Product = Callable[..., None]
"""Kilroy's own int8 product; `int8_kernel.product` has its arguments."""

OUTPUTS = 48
"""Outputs of one of its blocks: three vectors."""

INPUTS = 16
"""A layer that it computes has a multiple of so many inputs."""

_PACKED_ROWS = 32
"""The batch the packing is made for; every size works."""

_int8_product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default


class Linear(Protocol):
    """x · weightᵀ + bias."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """`x` float32 [rows, in] → [rows, out], in float32 or in the type the model computes in."""
        ...


def linear(weight: torch.Tensor, bias: torch.Tensor | None, compute: torch.dtype, precision: Precision) -> Linear:
    """The layer with `weight` [out, in] in what suits its device best. Later changes of `weight` may go unseen."""
    weight, bias = weight.detach(), None if bias is None else bias.detach()
    if weight.device.type != "cpu":
        return _Plain(weight, bias, compute)
    if precision == "fast" and weight.shape[1] % INPUTS == 0 and (own := own_product()) is not None:
        return _Int8(weight, bias, own)
    if precision == "fast" and "fbgemm" in torch.backends.quantized.supported_engines:
        return _Fbgemm(weight, bias)
    return _Packed(weight, bias, compute) if torch._C._has_mkldnn else _Plain(weight, bias, compute)


@functools.cache
def own_product() -> Product | None:
    """Kilroy's own int8 product, once it has computed a small one right. None where the processor lacks what it needs,
    or where LLVM is missing, broken or forbidden to make code: torch's library then computes, and all goes on.
    """
    try:
        from training.engine.sampling import int8_kernel

        found = int8_kernel.product()
        if found is not None:
            _check(found)
    except Exception as error:
        log.warning(
            "int8 products are FBGEMM's, because Kilroy's own cannot be had: %s: %s", type(error).__name__, error
        )
        return None
    return found


def _check(product: Product) -> None:
    """Raises `ArithmeticError` unless the product of some whole numbers is right: 9 rows and 50 outputs take two tiles
    and two blocks.
    """
    rows, columns = (
        torch.arange(9 * 32).view(9, 32) * 37 % 255 - 127,
        torch.arange(50 * 32).view(50, 32) * 11 % 255 - 127,
    )
    rows[:, 0], columns[:, 0], bias = 127, 127, torch.arange(50.0)  # with the largest there is, nothing is rounded
    if not torch.equal(_Int8(columns.float(), bias, product)(rows.float()), (rows @ columns.t()).float() + bias):
        raise ArithmeticError("it computes wrong numbers")


class _Plain:
    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, compute: torch.dtype) -> None:
        self.weight, self.compute = weight.to(compute).contiguous(), compute
        self.bias = None if bias is None else bias.to(compute)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x.to(self.compute), self.weight, self.bias)


class _Packed:
    """oneDNN with weights in its own order: at few rows twice as fast as with plain ones."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, compute: torch.dtype) -> None:
        self.compute = compute
        self.bias = None if bias is None else bias.to(compute)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.to(compute).contiguous(), _PACKED_ROWS)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(self.compute), self.weight, self.bias, "none", [], ""
        )
        return found


class _Int8:
    """Kilroy's own int8 product; see `int8_kernel`."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, product: Product) -> None:
        self.product, (self.outputs, self.inputs) = product, weight.shape
        blocks = -(-self.outputs // OUTPUTS)
        scales = _scales(weight)
        unsigned = torch.full((blocks * OUTPUTS, self.inputs), 128, dtype=torch.uint8)
        unsigned[: self.outputs] = (weight.float() / scales[:, None]).round_().add_(128).to(torch.uint8)
        ordered = unsigned.view(blocks, OUTPUTS // 16, 16, self.inputs // 4, 4).permute(0, 3, 1, 2, 4)
        self.weight, self.scales, self.bias = ordered.contiguous(), *torch.zeros(2, blocks * OUTPUTS)
        self.scales[: self.outputs] = scales
        if bias is not None:
            self.bias[: self.outputs] = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        x, rows = x.float().contiguous(), len(x)
        out, quantized = torch.empty(rows, self.outputs), torch.empty(rows, self.inputs, dtype=torch.int8)
        largest, sums = torch.empty(rows), torch.empty(rows, dtype=torch.int32)
        self.product(
            x.data_ptr(),
            rows,
            self.inputs,
            self.weight.data_ptr(),
            self.scales.data_ptr(),
            self.bias.data_ptr(),
            out.data_ptr(),
            self.outputs,
            quantized.data_ptr(),
            largest.data_ptr(),
            sums.data_ptr(),
            torch.get_num_threads(),
        )
        return out


class _Fbgemm:
    """The int8 product of torch's library."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.bias = None if bias is None else bias.float()
        scales = _scales(weight).double()
        engine = torch.backends.quantized.engine
        torch.backends.quantized.engine = "fbgemm"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # quantized tensors are to leave torch: it is pinned
                quantized = torch.quantize_per_channel(
                    weight.float().contiguous(), scales, torch.zeros(len(scales), dtype=torch.long), 0, torch.qint8
                )
            self.weight = torch.ops.quantized.linear_prepack(quantized, None)
        finally:
            torch.backends.quantized.engine = engine

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        x = x.float()
        largest = x.abs().amax(dim=1, keepdim=True)  # of a row of zeros, 0: whatever 0 / 0 becomes is multiplied by it
        sums = _int8_product(x / largest, 1 / 127, 127, self.weight)
        return sums.mul_(largest) if self.bias is None else torch.addcmul(self.bias, sums, largest, out=sums)


def _scales(weight: torch.Tensor) -> torch.Tensor:
    """What one step of int8 stands for, per output channel: float32 [out]."""
    return (weight.abs().amax(dim=1).float() / 127).clamp(min=1e-12)


class ReadyProducts(AbstractContextManager[None]):
    """Within the block `network` computes its linear layers with weights that are packed already, and in `compute`: the
    same numbers as under autocast, which makes them of the float32 weights in every step. Changes of a weight go
    unseen.
    """

    def __init__(self, network: torch.nn.Module, compute: torch.dtype) -> None:
        found = [
            (module._modules, name, layer)
            for module in network.modules()
            for name, layer in module.named_children()
            if type(layer) is torch.nn.Linear
        ]
        ready = {layer: _Ready(layer, compute) for _, _, layer in found}
        self._places = [(children, name, layer, ready[layer]) for children, name, layer in found]

    def __enter__(self) -> None:
        for children, name, _, packed in self._places:
            children[name] = packed

    def __exit__(self, *error: object) -> None:
        for children, name, layer, _ in self._places:
            children[name] = layer


class _Ready(torch.nn.Module):
    """Stands for a `torch.nn.Linear`, also where somebody asks for its weight."""

    def __init__(self, layer: torch.nn.Linear, compute: torch.dtype) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self._product = linear(layer.weight, layer.bias, compute, "exact")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self._product(x.reshape(-1, x.shape[-1]))
        return found.view(*x.shape[:-1], -1)
