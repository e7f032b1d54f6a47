"""Text of straight-line vector code: each load, multiplication and store written out once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from equivariant.nn.gaunt.compiled.instructions.machine_code import Processor
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import BYTES

Value = str


class StraightLine:
    """Writer of one function ``void name(i64 address, ..., i64 numbers)`` for a block of lanes.

    A block of lanes is worked through register by register, in a loop around the code of one
    register (:meth:`pieces`). Between two :meth:`fence` no load moves: the compiler would otherwise
    load everything first, and lose time by keeping it.

    Args:
        name: Of the function.
        operands: Names of the addresses of operands; that of the coefficients comes last.
        scalar: "float" or "double".
        processor: What the code is for.
    """

    def __init__(
        self, name: str, operands: Sequence[str], scalar: str, processor: Processor
    ) -> None:
        self.name, self.operands = name, [*operands, "numbers"]
        self.scalar, self.size = scalar, 4 if scalar == "float" else 8
        self.width = processor.width
        self.lanes = processor.width // self.size
        self.vector = f"<{self.lanes} x {scalar}>"
        self._lines: list[str] = []
        self._names = 0
        self._block = "entry"

    @contextmanager
    def pieces(self) -> Iterator[None]:
        """A loop over the registers of a block of lanes; operands move along."""
        here, start = self._name(), self._block
        loop, after, place = f"loop{here[2:]}", f"after{here[2:]}", f"%at{here[2:]}"
        self._write(f"br label %{loop}")
        self._lines.append(f"{loop}:")
        self._block = loop
        head = len(self._lines)
        for operand in self.operands[:-1]:
            self._write(f"%{operand}{here[2:]} = getelementptr i8, ptr %{operand}, i64 {place}")
        self._suffix = here[2:]
        yield
        following, more = self._name(), self._name()
        self._write(f"{following} = add i64 {place}, {self.width}")
        self._write(f"{more} = icmp ult i64 {following}, {BYTES}")
        self._write(f"br i1 {more}, label %{loop}, label %{after}")
        phi = f"  {place} = phi i64 [ 0, %{start} ], [ {following}, %{loop} ]"
        self._lines.insert(head, phi)
        self._lines.append(f"{after}:")
        self._block = after

    def load(self, operand: str, offset: int) -> Value:
        """A register's worth of an operand's row that starts at an offset in bytes."""
        value = self._name()
        pointer = self._pointer(operand, offset)
        self._write(f"{value} = load {self.vector}, ptr {pointer}, align {self.size}")
        return value

    def store(self, operand: str, offset: int, value: Value) -> None:
        """The inverse."""
        pointer = self._pointer(operand, offset)
        self._write(f"store {self.vector} {value}, ptr {pointer}, align {self.size}")

    def number(self, place: int) -> Value:
        """A coefficient in every lane."""
        pointer, single, first, value = (self._name() for _ in range(4))
        at = f"i64 {place * self.size}"
        self._write(f"{pointer} = getelementptr i8, ptr %numbers, {at}")
        self._write(f"{single} = load {self.scalar}, ptr {pointer}, align {self.size}")
        self._write(f"{first} = insertelement {self.vector} poison, {self.scalar} {single}, i32 0")
        self._write(
            f"{value} = shufflevector {self.vector} {first}, {self.vector} poison, "
            f"<{self.lanes} x i32> zeroinitializer"
        )
        return value

    def multiply(self, a: Value, b: Value) -> Value:
        """a * b."""
        value = self._name()
        self._write(f"{value} = fmul {self.vector} {a}, {b}")
        return value

    def fused(self, a: Value, b: Value, c: Value | None) -> Value:
        """a * b + c, or a * b."""
        if c is None:
            return self.multiply(a, b)
        value, kind = self._name(), self.vector
        self._write(f"{value} = call {kind} @{self._intrinsic}({kind} {a}, {kind} {b}, {kind} {c})")
        return value

    def fence(self) -> None:
        """No load or store moves across."""
        self._write('call void asm sideeffect "", "~{memory}"()')

    def text(self) -> str:
        """The module so far, with the function ended."""
        kind = self.vector
        addresses = ", ".join(f"ptr %{operand}" for operand in self.operands)
        return "\n".join(
            [
                f"declare {kind} @{self._intrinsic}({kind}, {kind}, {kind})",
                f"define void @{self.name}({addresses}) {{",
                "entry:",
                *self._lines,
                "  ret void",
                "}",
            ]
        )

    @property
    def _intrinsic(self) -> str:
        return f"llvm.fmuladd.v{self.lanes}f{8 * self.size}"

    def _pointer(self, operand: str, offset: int) -> Value:
        pointer = self._name()
        base = f"%{operand}{self._suffix}"
        self._write(f"{pointer} = getelementptr i8, ptr {base}, i64 {offset}")
        return pointer

    def _name(self) -> Value:
        self._names += 1
        return f"%v{self._names}"

    def _write(self, line: str) -> None:
        self._lines.append("  " + line)


class Loads:
    """Rows of operands, each loaded once, or anew at each use where registers are few.

    Args:
        code: Where loads are written.
        kept: Whether rows stay in registers.
    """

    def __init__(self, code: StraightLine, *, kept: bool) -> None:
        self._code, self._keep = code, kept
        self._kept: dict[tuple[str, int], Value] = {}

    def __call__(self, operand: str, offset: int) -> Value:
        """A register's worth of an operand's row that starts at an offset in bytes."""
        key = operand, offset
        if not self._keep or key not in self._kept:
            self._kept[key] = self._code.load(operand, offset)
        return self._kept[key]
