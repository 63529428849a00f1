"""The own int8 product against integer arithmetic done by torch, and what takes its place elsewhere."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

import pytest
import torch
from torch.testing import assert_close

from training.engine.sampling import int8_kernel, linears
from training.engine.sampling.linears import Linear, Product, linear

needs_kernel = pytest.mark.skipif(linears.own_product() is None, reason="a processor without AVX-512 VNNI")


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_hand(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Round, multiply whole numbers, scale back."""
    largest, steps = x.abs().amax(dim=1, keepdim=True), weight.abs().amax(dim=1) / 127
    rows, columns = (x * (127 / largest)).round().long(), (weight / steps[:, None]).round().long()
    return (rows @ columns.t()).float() * (largest / 127) * steps + bias


@needs_kernel
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 33])
@pytest.mark.parametrize(("inputs", "outputs"), [(16, 1), (48, 47), (64, 48), (128, 49), (768, 200)])
def test_sums_are_those_of_whole_numbers(rows: int, inputs: int, outputs: int) -> None:
    x, weight, bias = numbers(rows, inputs), numbers(outputs, inputs, seed=1), numbers(outputs, seed=2)
    assert_close(
        linear(weight, bias, torch.float32, "fast")(x), by_hand(x, weight, bias), rtol=1e-6, atol=1e-5 * inputs**0.5
    )


@needs_kernel
def test_the_largest_sum_there_is_fits() -> None:
    x, weight = torch.ones(2, 3072), torch.ones(50, 3072)
    x[1], weight[7] = -1, -1
    found = linear(weight, None, torch.float32, "fast")(x)

    expected = torch.full((2, 50), 3072.0)
    expected[1] *= -1
    expected[:, 7] *= -1
    assert_close(found, expected)


@needs_kernel
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_not_a_number_stays_that_and_in_its_row(broken: float) -> None:
    x, weight = numbers(9, 64), numbers(50, 64, seed=1)
    product = linear(weight, None, torch.float32, "fast")
    whole = product(x)
    x[4, 17] = broken
    found = product(x)

    assert bool(found[4].isnan().all())
    kept = [row for row in range(9) if row != 4]
    assert torch.equal(found[kept], whole[kept])


@needs_kernel
def test_any_number_of_threads_computes_the_same() -> None:
    x, product, usual = numbers(20, 256), linear(numbers(500, 256, seed=1), None, torch.float32, "fast"), None
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found = product(x)
            usual = found if usual is None else usual
            assert torch.equal(found, usual)
    finally:
        torch.set_num_threads(before)


def close_to_exact(product: Linear, weight: torch.Tensor) -> bool:
    x = numbers(5, weight.shape[1], seed=3)
    return bool(((product(x) - x @ weight.t()).abs() < 0.05 * weight.shape[1] ** 0.5).all())


def test_without_the_kernel_torchs_library_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = numbers(70, 64)
    monkeypatch.setattr(linears, "own_product", lambda: None)
    found = linear(weight, None, torch.float32, "fast")

    assert isinstance(found, linears._Fbgemm)
    assert close_to_exact(found, weight)


def no_kernel() -> None:
    raise RuntimeError("LLVM ERROR: no executable memory")


def wrong_kernel() -> Product:
    """It leaves the first output as it finds it."""
    return lambda *addresses: None


@pytest.mark.parametrize("kernel", [no_kernel, wrong_kernel])
def test_a_kernel_that_fails_or_computes_wrong_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kernel: Callable[[], Product]
) -> None:
    weight = numbers(70, 64)
    monkeypatch.setattr(linears, "own_product", functools.cache(linears.own_product.__wrapped__))
    monkeypatch.setattr(int8_kernel, "product", kernel)
    found = [linear(weight, None, torch.float32, "fast") for _ in range(2)]

    assert [type(each) for each in found] == [linears._Fbgemm] * 2
    assert close_to_exact(found[0], weight)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "int8 products are FBGEMM's" in caplog.text


@pytest.mark.parametrize("problem", [ImportError("no llvmlite"), OSError("libllvmlite.so: cannot open")])
def test_without_llvm_torchs_library_computes(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    """It is not even imported before somebody draws fast."""

    class Missing:
        def find_spec(self, name: str, *args: object) -> None:
            if name.startswith("llvmlite"):
                raise problem

    for name in [name for name in sys.modules if name.startswith("llvmlite") or name.endswith(".int8_kernel")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("training.engine.sampling.int8_kernel")
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    monkeypatch.setattr(linears, "own_product", functools.cache(linears.own_product.__wrapped__))
    weight = numbers(70, 64)

    assert close_to_exact(linear(weight, None, torch.float32, "fast"), weight)
    assert isinstance(linear(weight, None, torch.float32, "fast"), linears._Fbgemm)


def test_a_width_that_the_kernel_does_not_know_is_left_to_torchs_library() -> None:
    weight = numbers(70, 24)
    found = linear(weight, None, torch.float32, "fast")

    assert isinstance(found, linears._Fbgemm)
    assert close_to_exact(found, weight)


@pytest.mark.parametrize("lacking", ["avx512f", "avx512bw", "avx512vnni"])
def test_another_processor_has_no_kernel(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    features = {"avx512f": True, "avx512bw": True, "avx512vnni": True} | {lacking: False}
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: features)
    assert int8_kernel.product.__wrapped__() is None


def test_other_threads_than_gnus_have_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_kernel, "_openmp", lambda: None)
    assert int8_kernel.product.__wrapped__() is None
