"""How much memory a space of maps would take, said before it is taken."""

from __future__ import annotations

from equivariant.errors import ConventionError

MOST_BYTES = 4 * 2**30
"""What one array of a space of equivariant maps may take."""


def check_memory(count: int, what: str, *, argument: str, advice: str) -> None:
    """Refuse an array of float64 that is too large, with an estimate in words.

    Args:
        count: Numbers in it.
        what: What it would be.
        argument: Name of the argument that asks for it.
        advice: What to do instead.

    Raises:
        ConventionError: It would take more than 4 GiB.

    Example:
        >>> check_memory(10**12, "a basis", argument="act_in", advice="Use projections.")
        Traceback (most recent call last):
        ...
        equivariant.errors.ConventionError: act_in: expected a basis of at most 4 GiB, got ...
    """
    size = 8 * count
    if size > MOST_BYTES:
        raise ConventionError(
            expected=f"{what} of at most {MOST_BYTES / 2**30:g} GiB",
            got=f"{size / 2**30:,.3g} GiB" if size < 1000 * 2**30 else f"{size / 2**30:,.0f} GiB",
            argument=argument, advice=advice,
        )  # fmt: skip
