"""Named objectives, as data: read them, edit them, make your own."""

from __future__ import annotations

from dataclasses import dataclass

from equivariant.errors import ConventionError
from equivariant.losses.objective import Term


@dataclass(frozen=True)
class Preset:
    """A named objective.

    Args:
        terms: What is summed.
        parts: Names of the summands that the action must have; empty for any one action.
        source: Where the objective and its weights come from.
    """

    terms: tuple[Term, ...]
    parts: tuple[str, ...]
    source: str


_SPLIT = ("invariant", "equivariant")

PRESETS: dict[str, Preset] = {
    "sie": Preset(
        (
            Term("align", 10.0, part=0),
            Term("align", 4.5, part=1),
            Term("variance", 10.0),
            Term("variance", 10.0, part=1, of="moved"),
            Term("covariance", 1.0),
        ),
        _SPLIT,
        "Garrido, Najman, LeCun 2023 (SIE), with the published recipe's weights 10, 4.5, 10, 10, 1",
    ),
    "vicreg": Preset(
        (Term("align", 10.0), Term("variance", 10.0), Term("covariance", 1.0)),
        (),
        "Bardes, Ponce, LeCun 2022 (VICReg), with the weights 10, 10, 1 of SIE's baseline",
    ),
    "simclr": Preset(
        (Term("contrast", 1.0, tau=0.1),),
        (),
        "Chen et al. 2020 (SimCLR), NT-Xent at temperature 0.1 as in SIE's baseline",
    ),
    "exact": Preset(
        (
            Term("contrast", 1.0, part=0, tau=0.1),
            Term("contrast", 1.0, part=1, tau=0.1),
            Term("align", 1.0, part=1),
            Term("variance", 1.0, part=1),
        ),
        _SPLIT,
        "Ours: SimCLR on the invariant part; on the equivariant part, moved by a known "
        "representation of the rotation, SimCLR, alignment and a variance hinge",
    ),
}


def preset(name: str) -> Preset:
    """A named objective.

    Args:
        name: One of ``PRESETS``: sie, vicreg, simclr, exact.

    Raises:
        ConventionError: No preset has that name.

    Example:
        >>> [term.name for term in preset("vicreg").terms]
        ['align', 'variance', 'covariance']
    """
    if name not in PRESETS:
        raise ConventionError(
            expected=f"one of {', '.join(PRESETS)}",
            got=repr(name),
            argument="name",
            advice="Or write the terms yourself: Objective([Term(...), ...], action).",
        )
    return PRESETS[name]
