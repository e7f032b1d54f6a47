"""Instructions on tiles: several rows, or pairs of rows, held in registers through a loop.

A register holds ``PIECE`` bytes, 16 numbers in single and 8 in double precision. Addresses are
plain integers in bytes, ``like`` is any number of the wanted precision, and numbers of rows and
registers are literals: loops over them are written out.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import models, register_model

from equivariant.nn.gaunt.compiled.compilation import instruction
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import PIECE

INTEGER = ir.IntType(64)


class Register(types.Type):
    """Numba's name for one register's worth of numbers."""

    def __init__(self, scalar: Any) -> None:
        self.scalar = scalar
        self.count = PIECE * 8 // scalar.bitwidth
        super().__init__(name=f"Register({scalar})")


@register_model(Register)
class RegisterModel(models.PrimitiveModel):
    """A vector of LLVM."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _vector(kind.scalar))  # type: ignore[no-untyped-call]


@instruction
def load_register(typing: Any, address: Any, like: Any) -> Any:
    """Numbers that start at an address."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _load(builder, values[0], _vector(like))

    return Register(like)(types.int64, like), write


@instruction
def splat_register(typing: Any, value: Any) -> Any:
    """One number in every lane."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _splat(builder, values[0])

    return Register(value)(value), write


@instruction
def read_integer(typing: Any, address: Any) -> Any:
    """Integer of 64 bits at an address."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(builder.inttoptr(values[0], INTEGER.as_pointer()), align=8)

    return types.int64(types.int64), write


@instruction
def combine_rows(
    typing: Any, factors: Any, source: Any, places: Any, count: Any, source_step: Any,
    target: Any, target_step: Any, fresh: Any, like: Any, rows: Any, pieces: Any,
) -> Any:  # fmt: skip
    """Row r at ``target`` gains Σ_k factor[k, r] times the row at ``source`` of number place[k].

    Factors lie side by side, ``rows`` for each k; ``places`` is the address of ``count``
    integers. Rows of ``pieces`` registers lie steps apart. With ``fresh``, rows start from 0.
    """
    if not isinstance(rows, types.IntegerLiteral) or not isinstance(pieces, types.IntegerLiteral):
        return None
    height, width = rows.literal_value, pieces.literal_value

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        factor, source, places, count, source_step, target, target_step, fresh = values[:8]
        kind = _vector(like)
        size = like.bitwidth // 8
        ends = [
            _at(builder, builder.add(target, builder.mul(target_step, _integer(row))), PIECE * j)
            for row in range(height)
            for j in range(width)
        ]
        before = builder.block
        old, body, done = (builder.append_basic_block(name) for name in ("old", "body", "done"))
        loop = builder.append_basic_block("loop")
        builder.cbranch(cgutils.is_true(builder, fresh), loop, old)
        builder.position_at_end(old)
        held = [_load(builder, end, kind) for end in ends]
        builder.branch(loop)
        builder.position_at_end(loop)
        number = builder.phi(INTEGER)
        sums = [builder.phi(kind) for _ in ends]
        for block, values_in in ((before, [ir.Constant(kind, None)] * len(ends)), (old, held)):
            number.add_incoming(_integer(0), block)
            for total, value in zip(sums, values_in, strict=True):
                total.add_incoming(value, block)
        builder.cbranch(builder.icmp_signed("<", number, count), body, done)
        builder.position_at_end(body)
        index = _load(builder, builder.add(places, builder.mul(number, _integer(8))), INTEGER)
        here = builder.add(source, builder.mul(index, source_step))
        row_factors = builder.add(factor, builder.mul(number, _integer(height * size)))
        loaded = [_load(builder, _at(builder, here, PIECE * j), kind) for j in range(width)]
        made = []
        for row in range(height):
            one = _load(builder, _at(builder, row_factors, size * row), kind.element)
            spread = _splat(builder, one)
            made += [
                _fused(builder, spread, loaded[j], sums[row * width + j]) for j in range(width)
            ]
        number.add_incoming(builder.add(number, _integer(1)), body)
        for total, value in zip(sums, made, strict=True):
            total.add_incoming(value, body)
        builder.branch(loop)
        builder.position_at_end(done)
        for end, total in zip(ends, sums, strict=True):
            _store(builder, end, total)
        return context.get_dummy_value()

    arguments = (factors, source, places, count, source_step, target, target_step, fresh)
    return types.void(*arguments, like, rows, pieces), write


@instruction
def pair_sums(
    typing: Any, tile: Any, x: Any, x_step: Any, y: Any, y_step: Any, target: Any, pieces: Any,
    fresh: Any, like: Any,
) -> Any:  # fmt: skip
    """Scalar products of four rows at x with rows at y, as many as fill a register.

    ``tile`` is the address of the numbers of the rows, four of x and four (two in double
    precision) of y; the product of x's row i with y's row j is lane i + 4j. Rows have ``pieces``
    registers. Unless ``fresh``, products are added to what is at ``target``.
    """

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        tile, x, x_step, y, y_step, target, pieces, fresh = values[:8]
        kind = _vector(like)
        numbers = [
            _load(builder, _at(builder, tile, 8 * i), INTEGER) for i in range(4 + kind.count // 4)
        ]
        rows = [builder.add(x, builder.mul(number, x_step)) for number in numbers[:4]]
        others = [builder.add(y, builder.mul(number, y_step)) for number in numbers[4:]]
        before = builder.block
        loop, body, done = (builder.append_basic_block(name) for name in ("loop", "body", "done"))
        builder.branch(loop)
        builder.position_at_end(loop)
        offset = builder.phi(INTEGER)
        sums = [builder.phi(kind) for _ in range(kind.count)]
        offset.add_incoming(_integer(0), before)
        for total in sums:
            total.add_incoming(ir.Constant(kind, None), before)
        end = builder.mul(pieces, _integer(PIECE))
        builder.cbranch(builder.icmp_signed("<", offset, end), body, done)
        builder.position_at_end(body)
        loaded = [_load(builder, builder.add(row, offset), kind) for row in rows]
        made = []
        for j, row in enumerate(others):
            other = _load(builder, builder.add(row, offset), kind)
            made += [_fused(builder, loaded[i], other, sums[4 * j + i]) for i in range(4)]
        offset.add_incoming(builder.add(offset, _integer(PIECE)), body)
        for total, value in zip(sums, made, strict=True):
            total.add_incoming(value, body)
        builder.branch(loop)
        builder.position_at_end(done)
        whole = _lane_sums(builder, list(sums))
        held = builder.select(
            cgutils.is_true(builder, fresh), ir.Constant(kind, None), _load(builder, target, kind)
        )
        _store(builder, target, builder.fadd(whole, held))
        return context.get_dummy_value()

    arguments = (tile, x, x_step, y, y_step, target, pieces, fresh, like)
    return types.void(*arguments), write


@instruction
def transpose(
    typing: Any, source: Any, source_step: Any, target: Any, target_step: Any, like: Any
) -> Any:
    """Turn a square of numbers: rows of one register, as many as a register has lanes."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source, source_step, target, target_step = values[:4]
        kind = _vector(like)
        count = kind.count
        rows = [
            _load(builder, builder.add(source, builder.mul(source_step, _integer(i))), kind)
            for i in range(count)
        ]
        step = count // 2
        while step:
            low = [j if not j & step else count + j - step for j in range(count)]
            high = [j + step if not j & step else count + j for j in range(count)]
            for i in (i for i in range(count) if not i & step):
                pair = rows[i], rows[i + step]
                rows[i] = builder.shuffle_vector(*pair, _mask(low))
                rows[i + step] = builder.shuffle_vector(*pair, _mask(high))
            step //= 2
        for i, row in enumerate(rows):
            _store(builder, builder.add(target, builder.mul(target_step, _integer(i))), row)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64, like), write


def _lane_sums(builder: Any, vectors: list[Any]) -> Any:
    """The vector whose lane i is the sum over the lanes of vector i."""
    count = len(vectors)
    step = count // 2
    while step:
        kept = [j if not j & step else count + j for j in range(count)]
        moved = [j + step if not j & step else count + j - step for j in range(count)]
        vectors = [
            builder.fadd(
                builder.shuffle_vector(one, other, _mask(kept)),
                builder.shuffle_vector(one, other, _mask(moved)),
            )
            for one, other in zip(vectors[:step], vectors[step:], strict=True)
        ]
        step //= 2
    return vectors[0]


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    bits = 32 if isinstance(a.type.element, ir.FloatType) else 64
    name = f"llvm.fmuladd.v{a.type.count}f{bits}"
    function = ir.FunctionType(a.type, [a.type] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), (a, b, c))


def _splat(builder: Any, number: Any) -> Any:
    bits = 32 if isinstance(number.type, ir.FloatType) else 64
    kind = ir.VectorType(number.type, PIECE * 8 // bits)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, _mask([0] * kind.count))


def _vector(scalar: Any) -> Any:
    number = ir.FloatType() if scalar.bitwidth == 32 else ir.DoubleType()
    return ir.VectorType(number, PIECE * 8 // scalar.bitwidth)


def _mask(lanes: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)


def _integer(value: int) -> Any:
    return ir.Constant(INTEGER, value)


def _at(builder: Any, address: Any, offset: int) -> Any:
    return builder.add(address, _integer(offset))


def _load(builder: Any, address: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=_alignment(kind))


def _store(builder: Any, address: Any, value: Any) -> None:
    pointer = builder.inttoptr(address, value.type.as_pointer())
    builder.store(value, pointer, align=_alignment(value.type))


def _alignment(kind: Any) -> int:
    """Of one number: vectors may start anywhere."""
    element = kind.element if isinstance(kind, ir.VectorType) else kind
    return 4 if isinstance(element, ir.FloatType) else 8
