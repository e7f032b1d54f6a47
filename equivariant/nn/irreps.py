"""Irreps of O(3) one by one: read from text, listed without multiplicities, and their signs."""

from __future__ import annotations

from e3nn.o3 import Irrep, Irreps

from equivariant.errors import ConventionError


def sign_of(irrep: Irrep) -> int:
    """Whether an irrep has the parity of its harmonics.

    Args:
        irrep: Degree and parity.

    Returns:
        1 for a true irrep, p = (−1)^l, and −1 for a pseudo one.

    Example:
        >>> sign_of(Irrep("1o")), sign_of(Irrep("1e"))
        (1, -1)
    """
    return 1 if (irrep.p == 1) == (irrep.l % 2 == 0) else -1


def parse_irreps(irreps: str | Irreps, argument: str) -> Irreps:
    """Irreps from a string, or refuse it.

    Args:
        irreps: A string such as ``"8x0e + 8x1o"``, or irreps.
        argument: Name of the argument that it came in.

    Returns:
        The irreps, in the order written.

    Raises:
        ConventionError: The string is not irreps.

    Example:
        >>> parse_irreps("8x0e + 8x1o", "irreps").dim
        32
    """
    try:
        return Irreps(irreps)
    except (ValueError, AssertionError) as error:
        raise ConventionError(
            expected='irreps such as "8x0e + 8x1o"',
            got=repr(irreps),
            argument=argument,
            advice="Write multiplicity x degree and parity (e or o), joined by +.",
        ) from error


def irreps_of(irreps: Irreps) -> list[Irrep]:
    """The irrep of each entry, without multiplicities; entries of multiplicity 0 are left out.

    Args:
        irreps: e3nn's irreps.

    Returns:
        One irrep per entry.

    Example:
        >>> irreps_of(Irreps("8x0e + 8x1o + 0x2e"))
        [0e, 1o]
    """
    return [irrep for count, irrep in irreps if count]
