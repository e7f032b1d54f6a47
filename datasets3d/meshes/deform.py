"""Smooth deformations that keep orientation, and changes of color by groups of like colors."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

WAVES: Final = 3


def deform(
    points: NDArray[np.float64], *, generator: np.random.Generator, strength: float
) -> NDArray[np.float64]:
    """Move points by one random smooth map of space, in this order, with s = strength:

    1. stretch     x_i ↦ x_i exp(0.25 s u_i)
    2. taper       across a random axis a:  x_⊥ ↦ x_⊥ (1 + 0.3 s u x_a)
    3. bend        along another axis b:  x_b ↦ x_b + 0.4 s u (x_a² - 1/12)
    4. twist       about a random axis c by the angle 0.7 s u x_c
    5. waves       x ↦ x + Σ_k 0.02 s v_k sin(w_k·x + φ_k), three terms, |v_k| = 1, |w_k| ≤ 7

    with every u uniform in [-1, 1]. For s ≤ 2 and points within the unit box each step is
    one-to-one and has a positive Jacobian determinant, so surfaces keep their orientation.

    Args:
        points: Shape (N, 3), of a normalized mesh.
        generator: Source of the draws; the number of draws does not depend on the points.
        strength: In [0, 2]; 0 moves nothing.

    Returns:
        Shape (N, 3).

    Example:
        >>> corner = np.eye(3) / 4
        >>> moved = deform(corner, generator=np.random.default_rng(0), strength=0.0)
        >>> bool(np.allclose(moved, corner))
        True
    """
    u = 2.0 * generator.random(6) - 1.0
    axes = generator.integers(3, size=2)
    other = (axes[0] + 1 + generator.integers(2)) % 3
    wave = generator.normal(size=(WAVES, 3))
    push = generator.normal(size=(WAVES, 3))
    reach, phase = generator.random(WAVES), 2.0 * np.pi * generator.random(WAVES)
    moved = points * np.exp(0.25 * strength * u[:3])
    along = moved[:, axes[0]].copy()
    across = np.arange(3) != axes[0]
    moved[:, across] *= (1.0 + 0.3 * strength * u[3] * along)[:, None]
    moved[:, other] += 0.4 * strength * u[4] * (along**2 - 1.0 / 12.0)
    moved = _twist(moved, axis=int(axes[1]), angle_rad=0.7 * strength * float(u[5]))
    wave *= (7.0 * reach / np.linalg.norm(wave, axis=1))[:, None]
    push *= 0.02 * strength / np.linalg.norm(push, axis=1)[:, None]
    result: NDArray[np.float64] = moved + np.sin(moved @ wave.T + phase) @ push
    return result


def _twist(points: NDArray[np.float64], *, axis: int, angle_rad: float) -> NDArray[np.float64]:
    """Turn each point about an axis, by an angle proportional to its place along it."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    cosine, sine = np.cos(angle_rad * points[:, axis]), np.sin(angle_rad * points[:, axis])
    turned = points.copy()
    turned[:, i] = cosine * points[:, i] - sine * points[:, j]
    turned[:, j] = sine * points[:, i] + cosine * points[:, j]
    return turned


def recolor(
    images: list[NDArray[np.uint8]], *, generator: np.random.Generator, strength: float
) -> list[NDArray[np.uint8]]:
    """Change hue, saturation and value, in one way for all colors of a group.

    Colors are counted in a grid of 8×8×8 cells over the sRGB cube; cells that touch, if only at a
    corner, are one group: shades of a color stay together, and a texture without gaps is one.
    Per group, with s = strength and every u uniform in [-1, 1], every t in [0, 1]:

        h ↦ h + s u / 2    S ↦ S exp(0.4 s u) + 0.25 s t    V ↦ V exp(0.3 s u)

    so at s = 1 the hue is uniform, and grey is tinted. Values are rounded to 8 bits.

    Args:
        images: sRGB arrays of one object, each of shape (..., 3); groups span all of them.
        generator: Source of the draws.
        strength: In [0, 2].

    Returns:
        Arrays of the same shapes.

    Example:
        >>> shades = np.array([[200, 10, 10], [190, 20, 20], [10, 10, 200]], np.uint8)
        >>> recolor([shades], generator=np.random.default_rng(0), strength=1.0)[0].shape
        (3, 3)
    """
    cells = [_cell(image) for image in images]
    occupied = np.zeros(512, np.bool_)
    for cell in cells:
        occupied[cell.reshape(-1)] = True
    labels, count = ndimage.label(occupied.reshape(8, 8, 8), structure=np.ones((3, 3, 3)))
    group = np.maximum(np.asarray(labels, np.int64).reshape(-1) - 1, 0)
    u = 2.0 * generator.random((count, 3)) - 1.0
    tint = generator.random(count)
    level = np.arange(256.0)
    hue = np.rint(level + 128.0 * strength * u[:, :1]) % 256
    saturation = level * np.exp(0.4 * strength * u[:, 1:2]) + 64.0 * strength * tint[:, None]
    value = level * np.exp(0.3 * strength * u[:, 2:])
    tables = [np.clip(np.rint(t), 0, 255).astype(np.uint8) for t in (hue, saturation, value)]
    return [_through(image, group[cell], tables) for image, cell in zip(images, cells, strict=True)]


def _cell(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    part = (image >> 5).astype(np.int64)
    cell: NDArray[np.int64] = (part[..., 0] << 6) | (part[..., 1] << 3) | part[..., 2]
    return cell


def _through(
    image: NDArray[np.uint8], group: NDArray[np.int64], tables: list[NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Send each channel of the HSV form through the table of its color's group."""
    rows = np.ascontiguousarray(image.reshape(-1, 1, 3))
    hsv = np.asarray(Image.fromarray(rows).convert("HSV"))
    which = group.reshape(-1, 1)
    changed = np.stack([t[which, hsv[..., k]] for k, t in enumerate(tables)], axis=-1)
    back = Image.frombytes("HSV", (1, len(rows)), np.ascontiguousarray(changed).tobytes())
    return np.asarray(back.convert("RGB"), np.uint8).reshape(image.shape).copy()
