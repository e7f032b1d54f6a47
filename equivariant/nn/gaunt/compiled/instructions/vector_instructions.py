"""Short vectors as values in compiled kernels: the same arithmetic for many channels at once.

Addresses are plain integers in bytes. ``like`` is any number of the wanted precision. A vector
holds 256 bytes, 64 numbers in single and 32 in double precision: four registers of AVX-512, so
that one table entry read from memory serves four multiplications.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import models, register_model

from equivariant.nn.gaunt.compiled.compilation import instruction

BYTES = 256
PIECE = 64  # bytes of one register; shuffles work on these


class Lanes(types.Type):
    """Numba's name for a vector of numbers of one precision."""

    def __init__(self, scalar: Any) -> None:
        self.scalar = scalar
        self.count = BYTES * 8 // scalar.bitwidth
        super().__init__(name=f"Lanes({scalar})")


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    """A vector lives in registers of the machine."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _vector(kind.scalar, kind.count))  # type: ignore[no-untyped-call]


@instruction
def load(typing: Any, address: Any, like: Any) -> Any:
    """Vector that starts at an address."""
    kind = Lanes(like)

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _load(builder, values[0], _vector(like, kind.count))

    return kind(types.int64, like), write


@instruction
def store(typing: Any, address: Any, value: Any) -> Any:
    """Write a vector, or a number, to an address."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _store(builder, values[0], values[1])
        return context.get_dummy_value()

    return types.void(types.int64, value), write


@instruction
def read(typing: Any, address: Any, like: Any) -> Any:
    """Number at an address."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _load(builder, values[0], _scalar(like))

    return like(types.int64, like), write


@instruction
def splat(typing: Any, value: Any) -> Any:
    """Vector with one number in every lane."""
    kind = Lanes(value)

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        undefined = ir.Constant(_vector(value, kind.count), ir.Undefined)
        first = builder.insert_element(undefined, values[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, undefined, _mask([0] * kind.count))

    return kind(value), write


@instruction
def multiply(typing: Any, a: Any, b: Any) -> Any:
    """Lane by lane a * b."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fmul(*values)

    return a(a, a), write


@instruction
def add(typing: Any, a: Any, b: Any) -> Any:
    """Lane by lane a + b."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fadd(*values)

    return a(a, a), write


@instruction
def fused(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Lane by lane a * b + c, rounded once where the machine can."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = values[0].type
        name = f"llvm.fmuladd.v{kind.count}f{a.scalar.bitwidth}"
        function = ir.FunctionType(kind, [kind] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), values)

    return a(a, a, a), write


@instruction
def call(typing: Any, address: Any, arguments: Any) -> Any:
    """Call a function at an address, which takes addresses and returns nothing."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        count, word = len(arguments), ir.IntType(64)
        pointer = builder.inttoptr(
            values[0], ir.FunctionType(ir.VoidType(), [word] * count).as_pointer()
        )
        builder.call(pointer, cgutils.unpack_tuple(builder, values[1], count))
        return context.get_dummy_value()

    return types.void(types.int64, arguments), write


@instruction
def unweave(typing: Any, source: Any, target: Any, width: Any, like: Any) -> Any:
    """Split a register's worth of records of ``width`` numbers into rows, one per number.

    Record i at ``source`` is column i of the rows; rows lie ``BYTES`` apart. The width is
    a literal: the shuffles are written out.
    """
    if not isinstance(width, types.IntegerLiteral):
        return None
    count, size = PIECE * 8 // like.bitwidth, width.literal_value

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pieces = [
            _load(builder, _at(builder, values[0], PIECE * j), _vector(like, count))
            for j in range(size)
        ]
        for row in range(size):
            wanted = [(i * size + row) // count for i in range(count)]
            places = [(i * size + row) % count for i in range(count)]
            made = _collect(builder, pieces, wanted, places)
            _store(builder, _at(builder, values[1], BYTES * row), made)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, width, like), write


@instruction
def weave(typing: Any, source: Any, target: Any, width: Any, like: Any) -> Any:
    """The inverse of :func:`unweave`: rows at ``source`` become records at ``target``."""
    if not isinstance(width, types.IntegerLiteral):
        return None
    count, size = PIECE * 8 // like.bitwidth, width.literal_value

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rows = [
            _load(builder, _at(builder, values[0], BYTES * row), _vector(like, count))
            for row in range(size)
        ]
        for piece in range(size):
            entries = range(piece * count, (piece + 1) * count)
            wanted, places = [e % size for e in entries], [e // size for e in entries]
            made = _collect(builder, rows, wanted, places)
            _store(builder, _at(builder, values[1], PIECE * piece), made)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, width, like), write


def _collect(builder: Any, vectors: list[Any], wanted: list[int], places: list[int]) -> Any:
    """The vector whose lane i is lane ``places[i]`` of vector ``wanted[i]``."""
    count = len(wanted)
    made = ir.Constant(vectors[0].type, ir.Undefined)
    for number in sorted(set(wanted)):
        lanes = [count + places[i] if wanted[i] == number else i for i in range(count)]
        made = builder.shuffle_vector(made, vectors[number], _mask(lanes))
    return made


def _mask(lanes: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)


def _scalar(kind: Any) -> Any:
    return ir.FloatType() if kind.bitwidth == 32 else ir.DoubleType()


def _vector(kind: Any, count: int) -> Any:
    return ir.VectorType(_scalar(kind), count)


def _at(builder: Any, address: Any, offset: int) -> Any:
    return builder.add(address, ir.Constant(ir.IntType(64), offset))


def _load(builder: Any, address: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=_alignment(kind))


def _store(builder: Any, address: Any, value: Any) -> None:
    pointer = builder.inttoptr(address, value.type.as_pointer())
    builder.store(value, pointer, align=_alignment(value.type))


def _alignment(kind: Any) -> int:
    """Of one number: vectors may start anywhere."""
    element = kind.element if isinstance(kind, ir.VectorType) else kind
    return 4 if isinstance(element, ir.FloatType) else 8
