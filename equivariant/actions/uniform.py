"""Hidden representations of a given width, spread evenly over the ranks of tensors."""

from __future__ import annotations

from equivariant.actions.base import Action, DirectSum
from equivariant.actions.tensors import Tensors, has_orthogonal_matrices
from equivariant.errors import ConventionError
from equivariant.groups import Group


def uniform_tensors(group: Group, width: int, *, most: int | None = None) -> Action:
    """A sum of tensors of about the same number of entries in every rank, ``width`` in all.

    Ranks 0, 1, ..., N are used, N the largest with n^N (N + 1) <= width; each gets the same share
    of the entries, rounded down to whole tensors, and scalars fill up what is left. Groups whose
    matrices are not orthogonal divide a rank r among T(r, 0), T(r - 1, 1), ..., T(0, r).

    Args:
        group: Any group; only its matrix size and whether its matrices are orthogonal count.
        width: Number of entries, at least 1.
        most: Largest rank; None for no limit.

    Returns:
        An action of dim ``width``.

    Raises:
        ConventionError: The width is less than 1, or ``most`` negative.

    Example:
        >>> from equivariant.groups import SO3
        >>> [(count, piece.dim) for piece, count in uniform_tensors(SO3(), 128).pieces()]
        [(44, 1), (10, 3), (3, 9), (1, 27)]

    Source: Finzi, Welling, Wilson 2021, the allocation of hidden representations.
    """
    if width < 1 or (most is not None and most < 0):
        raise ConventionError(
            expected="a width of at least 1 and a rank of at least 0",
            got=f"width={width}, most={most}", argument="width",
            advice="The width is the number of entries of the representation.",
        )  # fmt: skip
    n, top = group.matrix_size, 0
    while (most is None or top < most) and (n ** (top + 1)) * (top + 2) <= width and top < 8:
        top += 1
    orthogonal, parts, left = has_orthogonal_matrices(group), [], width
    for rank in range(top, 0, -1):
        kinds = [(rank, 0)] if orthogonal else [(rank - q, q) for q in range(rank + 1)]
        count = width // (top + 1) // n**rank
        for k, (p, q) in enumerate(kinds):
            share = (count + k) // len(kinds)
            if share:
                parts.append(Tensors(group, p, q, channels=share))
                left -= share * n**rank
    scalars = [Tensors(group, 0, channels=left)] if left else []
    return DirectSum([*scalars, *reversed(parts)])
