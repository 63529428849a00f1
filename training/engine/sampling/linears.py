"""The products inside a decoder: a layer's weights, packed once for the processor at hand.

`exact` computes as the model itself does. `fast` is int8 on CPUs: weights symmetric per output channel, activations
symmetric per token (each row is divided by its own largest entry, so that no row changes another's rounding), integer
sums, results in float32. Integer sums do not depend on the order of adding, so a row's products are the same in any
batch.
"""

from __future__ import annotations

import warnings
from typing import Protocol

import torch

from training.engine.types import Precision

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
    if precision == "fast" and "fbgemm" in torch.backends.quantized.supported_engines:
        return _Int8(weight, bias)
    return _Packed(weight, bias, compute) if torch._C._has_mkldnn else _Plain(weight, bias, compute)


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
    """FBGEMM's int8 product; see the module's words."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.bias = None if bias is None else bias.float()
        scales = (weight.abs().amax(dim=1) / 127).clamp(min=1e-12).double()
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
