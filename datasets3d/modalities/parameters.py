"""The numbers of a view as a vector that a network can read or tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.factors.angles import rotation_matrix
from datasets3d.views.latents import ViewLaw
from datasets3d.views.schema import Column
from equivariant.errors import ShapeError

ANGLES = 3


@dataclass(frozen=True)
class ParameterCode:
    """How the numbers of a latent are written: one vector for one view, of bounded numbers.

    The rotation as the nine numbers of its matrix R, by rows, so that near rotations are near
    vectors; every further angle as cosine and sine; all else from its range to [-1, 1], and 0
    where the range is one point. The angles (a, b, c) themselves jump where the rotation does not.

    Args:
        columns: Of the latents, the three angles first.
        ranges: Lowest and highest value of each.

    Example:
        >>> code = ParameterCode.of(ViewLaw())
        >>> code.names[9:]
        ('floor_hue', 'cos spot_theta_rad', 'sin spot_theta_rad', 'cos spot_phi_rad', \
'sin spot_phi_rad', 'spot_hue')
        >>> code.encode(np.array([[0.0, 0, 0, 0.5, 0, 0, 1]]))[0, 9:].tolist()
        [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    """

    columns: tuple[Column, ...]
    ranges: tuple[tuple[float, float], ...]

    @staticmethod
    def of(law: ViewLaw) -> ParameterCode:
        """The code of what a law draws."""
        return ParameterCode(law.columns(), law.ranges())

    @property
    def names(self) -> tuple[str, ...]:
        """Of the numbers of a vector."""
        found = [f"rotation_{row}{column}" for row in "xyz" for column in "xyz"]
        for column in self.columns[ANGLES:]:
            angle = column.unit == "rad"
            found += [f"cos {column.name}", f"sin {column.name}"] if angle else [column.name]
        return tuple(found)

    def encode(self, latents: NDArray[np.float64]) -> NDArray[np.float32]:
        """The vectors of some views.

        Args:
            latents: Shape (N, columns), float64.

        Returns:
            Shape (N, len(names)), float32.

        Raises:
            ShapeError: There are other columns.
        """
        if latents.ndim != 2 or latents.shape[1] != len(self.columns):
            raise ShapeError(
                expected=f"latents of shape (N, {len(self.columns)})",
                got=f"shape {latents.shape}", argument="latents",
                advice="ThreeDIEBench.all_latents has all columns of a set.",
            )  # fmt: skip
        found = [rotation_matrix(latents).reshape(len(latents), 9)]
        for k, column in enumerate(self.columns[ANGLES:], ANGLES):
            value, (low, high) = latents[:, k], self.ranges[k]
            if column.unit == "rad":
                found += [np.cos(value)[:, None], np.sin(value)[:, None]]
            elif high > low:
                found.append((2.0 * (value - low) / (high - low) - 1.0)[:, None])
            else:
                found.append(np.zeros((len(latents), 1)))
        return np.concatenate(found, axis=1).astype(np.float32)


def decoded_rotation(
    vectors: NDArray[np.floating] | Sequence[Sequence[float]],
) -> NDArray[np.float64]:
    """The rotations nearest to the first nine numbers of vectors, in the sense of Frobenius.

        R = U diag(1, 1, det(U Vᵀ)) Vᵀ,   U S Vᵀ the singular value decomposition

    Args:
        vectors: What :meth:`ParameterCode.encode` returned, or a network said, shape (N, 9 or
            more).

    Returns:
        Shape (N, 3, 3), float64.

    Example:
        >>> latents = np.array([[0.3, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0]])
        >>> vectors = ParameterCode.of(ViewLaw()).encode(latents)
        >>> bool(np.allclose(decoded_rotation(2 * vectors), rotation_matrix(latents[:, :3])))
        True

    Source: Kabsch 1976.
    """
    u, _, v = np.linalg.svd(np.asarray(vectors, np.float64)[:, :9].reshape(-1, 3, 3))
    u[..., 2] *= np.linalg.det(u @ v)[:, None]
    found: NDArray[np.float64] = u @ v
    return found
