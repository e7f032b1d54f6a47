"""Irreps whose channels meet one to one: each irrep once, all with one multiplicity."""

from __future__ import annotations

from e3nn.o3 import Irrep, Irreps
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.gaunt.paths import irreps_of, parse_irreps


def channelwise(irreps: str | Irreps, argument: str) -> Irreps:
    """Irreps in the order written, each once and all with one multiplicity.

    Args:
        irreps: A string or irreps; those of multiplicity 0 are dropped.
        argument: Name of the argument that they came in.

    Returns:
        The irreps.

    Raises:
        ConventionError: They are not of that form.

    Example:
        >>> channelwise("8x0e + 8x1o", "irreps_in1")
        8x0e+8x1o
    """
    parsed = parse_irreps(irreps, argument)
    kept = Irreps([(count, irrep) for count, irrep in parsed if count])
    found = irreps_of(kept)
    if not found or len(set(found)) < len(found) or len({count for count, _ in kept}) > 1:
        raise ConventionError(
            expected="each irrep once, with equal multiplicities of at least 1",
            got=repr(str(parsed)),
            argument=argument,
            advice="Bring features to that form by e3nn.o3.Linear; channels meet one to one.",
        )
    return kept


def check_multiplicity(irreps: Irreps, multiplicity: int, argument: str) -> None:
    """Refuse irreps of another multiplicity.

    Args:
        irreps: From :func:`channelwise`.
        multiplicity: Expected of all of them.
        argument: Name of the argument that they came in.

    Raises:
        ConventionError: It is another.
    """
    if irreps[0].mul != multiplicity:
        raise ConventionError(
            expected=f"multiplicity {multiplicity}",
            got=str(irreps),
            argument=argument,
            advice="Channels meet as mode says; change their number by e3nn.o3.Linear.",
        )


def check_reached(irreps: Irreps, reached: tuple[Irrep, ...], full: tuple[Irrep, ...]) -> None:
    """Refuse irreps of a result that no coupling reaches.

    Args:
        irreps: Of the result.
        reached: Irreps that the couplings reach.
        full: Irreps that couplings of ``parity="full"`` would reach.

    Raises:
        ConventionError: Some are not reached.
    """
    lost = [irrep for irrep in irreps_of(irreps) if irrep not in reached]
    if lost:
        helps = all(irrep in full for irrep in lost)
        raise ConventionError(
            expected=f"some of {', '.join(map(str, reached))}",
            got=", ".join(map(str, lost)),
            argument="irreps_out",
            advice='parity="full" reaches them.' if helps else "Nothing couples to these.",
        )


def check_features(x: Tensor, length: int, argument: str) -> None:
    """Refuse features that do not fit irreps.

    Args:
        x: The features.
        length: What their last axis should be.
        argument: Name of the argument that they came in.

    Raises:
        ShapeError: The last axis has another length.
        ConventionError: They are not floating point.
    """
    if x.dim() == 0 or x.shape[-1] != length:
        raise ShapeError(
            expected=f"(..., {length})",
            got=str(tuple(x.shape)),
            argument=argument,
            advice="All copies of the first irrep come first, then those of the next.",
        )
    if not x.is_floating_point():
        raise ConventionError(
            expected="real floating point numbers",
            got=str(x.dtype),
            argument=argument,
            advice="Convert features by .float().",
        )
