"""An int8 product of few rows with many weights, for processors with AVX-512 VNNI: compiled in memory by LLVM.

Libraries are made for squarer matrices: with the 8 to 32 rows of a step of decoding this takes two thirds of the time
of FBGEMM's, the quantizing of the rows included.

Weights lie as unsigned bytes (weight + 128) in the order in which they are read: [blocks of 48 outputs, in / 4, 3, 16
outputs, 4], so that one instruction multiplies 4 inputs of 16 outputs with the same 4 signed bytes of a row
(`vpdpbusd`) and adds them in int32. What the 128 adds, 128 · the sum of the row's bytes, is taken off at the end.
Up to 8 rows are held in registers at once; threads take blocks of outputs from a common counter.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import llvmlite.binding as llvm
from llvmlite import ir

from training.engine.sampling.linears import OUTPUTS, Product

_ROWS = 8
_VECTORS, _LANES = 3, 16

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_POINTER, _F32 = ir.PointerType(), ir.FloatType()
_INTS, _BYTES, _FLOATS = ir.VectorType(_I32, _LANES), ir.VectorType(_I8, 4 * _LANES), ir.VectorType(_F32, _LANES)
_FIELDS = ("x", "rows", "inputs", "weights", "scales", "bias", "out", "outputs", "bytes", "largest", "sums")
_DRAWN = len(_FIELDS)
"""Two more numbers behind the fields: the next row to quantize and the next block to compute."""


@functools.cache
def product() -> Product | None:
    """The function, or None where the processor or torch's threads are others than it is made for.

    Its arguments are addresses and sizes, int64: `x` float32 [rows, inputs], `weights` (see above), `scales` and `bias`
    float32 [blocks · 48], `out` float32 [rows, outputs]; room for `bytes` int8 [rows, inputs], `largest` float32 [rows]
    and `sums` int32 [rows]; at last how many threads. Raises whatever LLVM does when it cannot compile.
    """
    threads = _openmp()
    if threads is None:
        return None
    features = llvm.get_host_cpu_features()
    if not all(features.get(name) for name in ("avx512f", "avx512bw", "avx512vnni")):
        return None
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * (len(_FIELDS) + 1))
    return signature(_engine(threads).get_function_address("product"))


@functools.cache  # what the engine compiled is gone with it
def _engine(threads: ctypes.CDLL) -> llvm.ExecutionEngine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for name in ("GOMP_parallel", "GOMP_barrier"):
        llvm.add_symbol(name, ctypes.cast(getattr(threads, name), ctypes.c_void_p).value)
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
    )
    module = llvm.parse_assembly(str(_module()))
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(module, passes)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


def _openmp() -> ctypes.CDLL | None:
    """The threads that torch itself computes with, where these are GNU's."""
    try:
        return ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOW | os.RTLD_NOLOAD)
    except OSError:
        return None


def _module() -> ir.Module:
    module = ir.Module()
    job = _job(module, [_tile(module, height) for height in range(1, _ROWS + 1)])
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64] * (len(_FIELDS) + 1)), "product")
    b = ir.IRBuilder(entry.append_basic_block())
    fields = b.alloca(_I64, len(_FIELDS) + 2)
    for at, value in enumerate([*entry.args[:-1], _i64(0), _i64(0)]):
        b.store(value, _at(b, fields, _i64(at), _I64))
    parallel = _declared(module, "GOMP_parallel", ir.VoidType(), [_POINTER, _POINTER, _I32, _I32])
    b.call(parallel, [job, fields, b.trunc(entry.args[-1], _I32), _I32(0)])
    b.ret_void()
    return module


def _job(module: ir.Module, tiles: list[ir.Function]) -> ir.Function:
    """What every thread does: quantize rows, wait for the others, compute blocks."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_POINTER]), "job")
    b = ir.IRBuilder(function.append_basic_block())
    fields = function.args[0]
    value = {name: b.load(_at(b, fields, _i64(at), _I64), typ=_I64) for at, name in enumerate(_FIELDS)}
    with _drawn(b, _at(b, fields, _i64(_DRAWN), _I64), value["rows"]) as row:
        _quantize(b, value, row)
    b.call(_declared(module, "GOMP_barrier", ir.VoidType(), []), [])
    blocks = b.udiv(b.add(value["outputs"], _i64(OUTPUTS - 1)), _i64(OUTPUTS))
    with _drawn(b, _at(b, fields, _i64(_DRAWN + 1), _I64), blocks) as block, _loop(b, value["rows"], _ROWS) as row:
        left = b.sub(value["rows"], row)
        done = b.append_basic_block()
        choice = b.switch(left, (most := b.append_basic_block()))
        for height, tile in enumerate(tiles, start=1):
            case = b.append_basic_block() if height < _ROWS else most
            if height < _ROWS:
                choice.add_case(_i64(height), case)
            b.position_at_end(case)
            b.call(tile, [fields, row, block])
            b.branch(done)
        b.position_at_end(done)
    b.ret_void()
    return function


def _quantize(b: ir.IRBuilder, value: dict[str, ir.Value], row: ir.Value) -> None:
    """A row's bytes, its largest entry / 127 and 128 · the sum of its bytes. What is not a number makes `largest` that,
    and with it every product; of a row of zeros the bytes are zeros.
    """
    module, inputs = b.module, value["inputs"]
    first = b.mul(row, inputs)
    x, quantized = _address(b, value["x"], first, _F32), _address(b, value["bytes"], first, _I8)
    most, total = _variable(b, _FLOATS), _variable(b, _INTS)
    b.store(ir.Constant(_FLOATS, None), most)
    b.store(ir.Constant(_INTS, None), total)
    absolute = _declared(module, "llvm.fabs.v16f32", _FLOATS, [_FLOATS])
    maximum = _declared(module, "llvm.maximum.v16f32", _FLOATS, [_FLOATS, _FLOATS])
    with _loop(b, inputs, _LANES) as at:
        entry = b.call(absolute, [_load(b, _at(b, x, at, _F32), _FLOATS)])
        b.store(b.call(maximum, [b.load(most, typ=_FLOATS), entry]), most)
    reduced = _declared(module, "llvm.vector.reduce.fmaximum.v16f32", _F32, [_FLOATS])
    largest = b.call(reduced, [b.load(most, typ=_FLOATS)])
    factor = _spread(b, b.fdiv(_F32(127.0), largest))
    rounded = _declared(module, "llvm.x86.avx512.mask.cvtps2dq.512", _INTS, [_FLOATS, _INTS, _I16, _I32])
    with _loop(b, inputs, _LANES) as at:
        scaled = b.fmul(_load(b, _at(b, x, at, _F32), _FLOATS), factor)
        numbers = b.call(rounded, [scaled, ir.Constant(_INTS, None), _I16(-1), _I32(4)])
        b.store(b.add(b.load(total, typ=_INTS), numbers), total)
        b.store(b.trunc(numbers, ir.VectorType(_I8, _LANES)), _at(b, quantized, at, _I8), align=1)
    added = _declared(module, "llvm.vector.reduce.add.v16i32", _I32, [_INTS])
    b.store(b.fdiv(largest, _F32(127.0)), _address(b, value["largest"], row, _F32))
    b.store(b.mul(b.call(added, [b.load(total, typ=_INTS)]), _I32(128)), _address(b, value["sums"], row, _I32))


def _tile(module: ir.Module, height: int) -> ir.Function:
    """The outputs of one block for `height` rows."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_POINTER, _I64, _I64]), f"tile{height}")
    fields, row, block = function.args
    b = ir.IRBuilder(function.append_basic_block())
    value = {name: b.load(_at(b, fields, _i64(at), _I64), typ=_I64) for at, name in enumerate(_FIELDS)}
    inputs = value["inputs"]
    weights = _address(b, value["weights"], b.mul(b.mul(block, inputs), _i64(OUTPUTS)), _I8)
    rows = [_address(b, value["bytes"], b.mul(b.add(row, _i64(at)), inputs), _I8) for at in range(height)]
    sums = [[_variable(b, _INTS) for _ in range(_VECTORS)] for _ in range(height)]
    for total in [total for of_row in sums for total in of_row]:
        b.store(ir.Constant(_INTS, None), total)
    dot = _declared(module, "llvm.x86.avx512.vpdpbusd.512", _INTS, [_INTS, _BYTES, _BYTES])
    with _loop(b, inputs, 4) as at:
        here = _at(b, weights, b.mul(at, _i64(OUTPUTS)), _I8)
        read = [_load(b, _at(b, here, _i64(64 * vector), _I8), _BYTES) for vector in range(_VECTORS)]
        for x, of_row in zip(rows, sums, strict=True):
            four = b.bitcast(_spread(b, _load(b, _at(b, x, at, _I8), _I32)), _BYTES)
            for weight, total in zip(read, of_row, strict=True):
                b.store(b.call(dot, [b.load(total, typ=_INTS), weight, four]), total)
    first = b.mul(block, _i64(OUTPUTS))
    for at, of_row in enumerate(sums):
        own = b.add(row, _i64(at))
        surplus = _spread(b, _load(b, _address(b, value["sums"], own, _I32), _I32))
        largest = _spread(b, _load(b, _address(b, value["largest"], own, _F32), _F32))
        out = _address(b, value["out"], b.mul(own, value["outputs"]), _F32)
        for vector, total in enumerate(of_row):
            column = b.add(first, _i64(vector * _LANES))
            products = b.sitofp(b.sub(b.load(total, typ=_INTS), surplus), _FLOATS)
            scale = b.fmul(largest, _load(b, _address(b, value["scales"], column, _F32), _FLOATS))
            bias = _load(b, _address(b, value["bias"], column, _F32), _FLOATS)
            _store_some(b, b.fadd(b.fmul(products, scale), bias), _at(b, out, column, _F32), value["outputs"], column)
    b.ret_void()
    return function


def _store_some(b: ir.IRBuilder, values: ir.Value, to: ir.Value, outputs: ir.Value, column: ir.Value) -> None:
    """Stores as many of 16 outputs as there are from `column` on."""
    left = b.trunc(b.sub(outputs, column), _I32)
    numbers = ir.Constant(_INTS, list(range(_LANES)))
    mask = b.icmp_signed("<", numbers, _spread(b, left))
    lanes = ir.VectorType(ir.IntType(1), _LANES)
    store = _declared(b.module, "llvm.masked.store.v16f32.p0", ir.VoidType(), [_FLOATS, _POINTER, _I32, lanes])
    b.call(store, [values, to, _I32(4), mask])


@contextmanager
def _loop(b: ir.IRBuilder, stop: ir.Value, step: int) -> Iterator[ir.Value]:
    """for (at = 0; at < stop; at += step)"""
    counter = _variable(b, _I64)
    b.store(_i64(0), counter)
    with _while(b, lambda: b.load(counter, typ=_I64), stop) as at:
        yield at
        b.store(b.add(at, _i64(step)), counter)


@contextmanager
def _drawn(b: ir.IRBuilder, counter: ir.Value, stop: ir.Value) -> Iterator[ir.Value]:
    """while ((at = counter++) < stop), with a counter that the threads share"""
    with _while(b, lambda: b.atomic_rmw("add", counter, _i64(1), "monotonic"), stop) as at:
        yield at


@contextmanager
def _while(b: ir.IRBuilder, following: Callable[[], ir.Value], stop: ir.Value) -> Iterator[ir.Value]:
    head, body, end = (b.append_basic_block() for _ in range(3))
    b.branch(head)
    b.position_at_end(head)
    at = following()
    b.cbranch(b.icmp_signed("<", at, stop), body, end)
    b.position_at_end(body)
    yield at
    b.branch(head)
    b.position_at_end(end)


def _variable(b: ir.IRBuilder, kind: ir.Type) -> ir.Value:
    """Room that LLVM makes a register of: it does so only at a function's entry."""
    with b.goto_entry_block():
        return b.alloca(kind)


def _i64(number: int) -> ir.Value:
    return ir.Constant(_I64, number)


def _declared(module: ir.Module, name: str, returns: ir.Type, arguments: list[ir.Type]) -> ir.Value:
    found = module.globals.get(name)
    return found or ir.Function(module, ir.FunctionType(returns, arguments), name)


def _at(b: ir.IRBuilder, pointer: ir.Value, index: ir.Value, kind: ir.Type) -> ir.Value:
    return b.gep(pointer, [index], source_etype=kind)


def _address(b: ir.IRBuilder, base: ir.Value, index: ir.Value, kind: ir.Type) -> ir.Value:
    return _at(b, b.inttoptr(base, _POINTER), index, kind)


def _load(b: ir.IRBuilder, pointer: ir.Value, kind: ir.Type) -> ir.Value:
    return b.load(pointer, typ=kind, align=1 if isinstance(kind, ir.VectorType) else None)


def _spread(b: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    """The scalar in all of 16 lanes."""
    kind = ir.VectorType(scalar.type, _LANES)
    one = b.insert_element(ir.Constant(kind, ir.Undefined), scalar, _I32(0))
    return b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(_INTS, [0] * _LANES))
