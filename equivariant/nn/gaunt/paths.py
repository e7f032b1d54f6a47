"""Which couplings l1 ⊗ l2 → l3 a product of functions on the sphere has, and which it lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from e3nn.o3 import Irrep, Irreps

from equivariant.errors import ConventionError
from equivariant.nn.irreps import irreps_of, parse_irreps

Parity = Literal["even", "full"]


class Path(NamedTuple):
    """One coupling of Clebsch and Gordan.

    Args:
        first: Irrep of the first operand.
        second: Of the second.
        out: Of the result: parities multiply, degrees form a triangle.

    Example:
        >>> path = Path(Irrep("1o"), Irrep("1o"), Irrep("1e"))
        >>> path.kind, str(path)
        ('odd', '1o x 1o -> 1e')
    """

    first: Irrep
    second: Irrep
    out: Irrep

    @property
    def kind(self) -> Literal["even", "odd"]:
        """Whether l1+l2+l3 is even (the product of functions) or odd (their bracket)."""
        return "odd" if (self.first.l + self.second.l + self.out.l) % 2 else "even"

    def __str__(self) -> str:
        return f"{self.first} x {self.second} -> {self.out}"


@dataclass(frozen=True)
class ExpressivityReport:
    """The couplings between given irreps, split by what reaches them.

    The product sums all its couplings into each irrep of the result. ``len(paths)`` separate
    results of Clebsch and Gordan therefore become ``outputs`` results: that, besides missing
    couplings, is what speed is paid with.

    Args:
        even: Couplings with l1+l2+l3 even; ``parity="even"`` and ``"full"`` have them.
        odd: Couplings with l1+l2+l3 odd; only ``parity="full"`` has them.

    Example:
        >>> print(expressivity_report("1o", "1o"))
        even: 2 of 3 couplings into 2 irreps; missing 1o x 1o -> 1e
        full: 3 of 3 couplings into 3 irreps; missing none
    """

    even: tuple[Path, ...]
    odd: tuple[Path, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every coupling of Clebsch and Gordan."""
        return self.even + self.odd

    def reachable(self, parity: Parity) -> tuple[Path, ...]:
        """Couplings that a layer has.

        Args:
            parity: "even" or "full".

        Returns:
            The couplings, those with l1+l2+l3 even first.
        """
        return self.even if parity == "even" else self.paths

    def missing(self, parity: Parity) -> tuple[Path, ...]:
        """Couplings that a layer lacks.

        Args:
            parity: "even" or "full".

        Returns:
            The couplings; none for "full".
        """
        return self.odd if parity == "even" else ()

    def outputs(self, parity: Parity) -> tuple[Irrep, ...]:
        """Irreps of the result that some coupling reaches.

        Args:
            parity: "even" or "full".

        Returns:
            Each irrep once, in e3nn's order.
        """
        return tuple(sorted({path.out for path in self.reachable(parity)}))

    def __str__(self) -> str:
        lines = []
        parities: tuple[Parity, ...] = ("even", "full")
        for parity in parities:
            lost = ", ".join(map(str, self.missing(parity))) or "none"
            lines.append(
                f"{parity}: {len(self.reachable(parity))} of {len(self.paths)} couplings into "
                f"{len(self.outputs(parity))} irreps; missing {lost}"
            )
        return "\n".join(lines)


def expressivity_report(
    irreps_in1: str | Irreps, irreps_in2: str | Irreps, irreps_out: str | Irreps | None = None
) -> ExpressivityReport:
    """List the couplings between irreps that Gaunt products reach, and those that they miss.

    A coupling (l1,p1) ⊗ (l2,p2) → (l3,p1·p2) exists for |l1−l2| <= l3 <= l1+l2. Products of
    functions have those with l1+l2+l3 even, brackets those with l1+l2+l3 odd.

    Args:
        irreps_in1: For example ``"8x0e + 8x1o"``; multiplicities play no part.
        irreps_in2: The same for the second operand.
        irreps_out: Irreps of the result that count; None counts all.

    Returns:
        The couplings, even and odd.

    Raises:
        ConventionError: A string is not irreps.

    Example:
        >>> report = expressivity_report("0e + 1o + 2e", "0e + 1o + 2e", "0e + 1o + 2e")
        >>> len(report.even), len(report.odd)
        (11, 0)
        >>> [str(path) for path in expressivity_report("1o", "2e").odd]
        ['1o x 2e -> 2o']
    """
    first, second = parse_irreps(irreps_in1, "irreps_in1"), parse_irreps(irreps_in2, "irreps_in2")
    wanted = None if irreps_out is None else set(irreps_of(parse_irreps(irreps_out, "irreps_out")))
    paths = [
        Path(one, other, out)
        for one in sorted(set(irreps_of(first)))
        for other in sorted(set(irreps_of(second)))
        for out in one * other
        if wanted is None or out in wanted
    ]
    even = tuple(path for path in paths if path.kind == "even")
    return ExpressivityReport(even, tuple(path for path in paths if path.kind == "odd"))


def check_reached(wanted: Iterable[Irrep], reached: Collection[Irrep], advice: str) -> None:
    """Refuse irreps of a result that no coupling reaches.

    Args:
        wanted: Of the result.
        reached: Irreps that couplings reach.
        advice: What the caller can do.

    Raises:
        ConventionError: Some are not reached.
    """
    lost = [irrep for irrep in wanted if irrep not in reached]
    if lost:
        raise ConventionError(
            expected=f"some of {', '.join(map(str, sorted(reached)))}",
            got=", ".join(map(str, lost)),
            argument="irreps_out",
            advice=advice,
        )
