"""Numbers that are no numbers are refused before anything is computed of them."""

from __future__ import annotations

from torch import Tensor

from equivariant.errors import ConventionError


def check_finite(value: Tensor, argument: str, *, rows: str = "rows") -> None:
    """Raise ConventionError if an entry is NaN or infinite; says how many rows hold one.

    Args:
        value: Any shape, the first axis counts rows.
        argument: Its name, for the error.
        rows: What a row is called.
    """
    finite = value.isfinite()
    if bool(finite.all()):
        return
    bad = (~finite).reshape(len(value), -1).any(1).nonzero().flatten().tolist()
    first = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
    raise ConventionError(
        expected="finite numbers",
        got=f"NaN or infinity in {len(bad)} of {len(value)} {rows} ({first})",
        argument=argument,
        advice="A model whose weights or inputs are not finite cannot be scored.",
    )
