"""What varies from view to view: seven numbers, their law, and the scene they describe."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.schema import COLUMNS
from equivariant.errors import ConventionError
from renderers.color import rgb_from_hsv
from renderers.scene import Camera, Floor, Mesh, Scene, Spot

RotationName = Literal["box", "haar", "vertical", "cone"]
Range = tuple[float, float]

SPOT_DISTANCE = 4.0
FLOOR_SATURATION = FLOOR_VALUE = 0.6
SPOT_SATURATION, SPOT_VALUE = 1.0, 0.8
FIELD_OF_VIEW_RAD = Camera().field_of_view_rad

__all__ = ["COLUMNS", "ViewLaw", "generator", "rotation_matrix"]


@dataclass(frozen=True)
class ViewLaw:
    """The probability law of a view; the defaults are 3DIEBench's.

    All factors are independent and uniform. A range of one point fixes a factor.

    Args:
        rotation: "box": three extrinsic xyz Euler angles uniform in ±angle_max_rad. "haar":
            uniform over all rotations, stored as such angles. "vertical": only the turn about
            the vertical axis, uniform in ±angle_max_rad. "cone": uniform over the rotations
            that tilt the object's vertical axis by at most angle_max_rad.
        angle_max_rad: Largest angle of box, vertical and cone, radians, in (0, π].
        floor_hue: Range of the floor's hue, turns, in [0, 1].
        spot_theta_rad: Range of the light's angle from the vertical, radians, in [0, π/2).
        spot_phi_rad: Range of the light's azimuth, radians.
        spot_hue: Range of the light's hue, turns, in [0, 1].
        field_of_view_rad: Opening angle of the camera, radians, in (0, π); smaller shows the
            object larger. It is the same for all views.

    Raises:
        ConventionError: A setting is out of its range.

    Example:
        >>> latent = ViewLaw().sample(0, "chair/chair-000001", view=3)
        >>> latent.shape, bool((abs(latent[:3]) <= math.pi / 2).all())
        ((7,), True)
    """

    rotation: RotationName = "box"
    angle_max_rad: float = math.pi / 2
    floor_hue: Range = (0.0, 1.0)
    spot_theta_rad: Range = (0.0, math.pi / 4)
    spot_phi_rad: Range = (0.0, 2.0 * math.pi)
    spot_hue: Range = (0.0, 1.0)
    field_of_view_rad: float = FIELD_OF_VIEW_RAD

    def __post_init__(self) -> None:
        if self.rotation not in ("box", "haar", "vertical", "cone"):
            _refuse("rotation", "box, haar, vertical or cone", repr(self.rotation))
        if not 0.0 < self.angle_max_rad <= math.pi:
            _refuse("angle_max_rad", "an angle in (0, π]", str(self.angle_max_rad))
        if not 0.0 < self.field_of_view_rad < math.pi:
            _refuse("field_of_view_rad", "an angle in (0, π)", str(self.field_of_view_rad))
        limits = {
            "floor_hue": (0.0, 1.0),
            "spot_hue": (0.0, 1.0),
            "spot_theta_rad": (0.0, math.pi / 2),
            "spot_phi_rad": (-2.0 * math.pi, 2.0 * math.pi),
        }
        for name, (lowest, highest) in limits.items():
            low, high = getattr(self, name)
            if not lowest <= low <= high <= highest:
                _refuse(name, f"low <= high within [{lowest:g}, {highest:g}]", f"{low}, {high}")

    def ranges(self) -> tuple[Range, ...]:
        """Lowest and highest value of each of the seven numbers."""
        turn, limit = math.pi, self.angle_max_rad
        angles: dict[RotationName, tuple[Range, ...]] = {
            "box": ((-limit, limit),) * 3,
            "vertical": ((0.0, 0.0), (0.0, 0.0), (-limit, limit)),
            "haar": ((-turn, turn), (-turn / 2, turn / 2), (-turn, turn)),
        }
        rotation = angles["haar" if self.rotation == "cone" else self.rotation]
        rest = (self.floor_hue, self.spot_theta_rad, self.spot_phi_rad, self.spot_hue)
        return (*rotation, *rest)

    def sample(self, dataset_seed: int, object_key: str, *, view: int) -> NDArray[np.float64]:
        """The latent of one view: a function of its arguments alone.

        Args:
            dataset_seed: Of the data set, at least 0.
            object_key: ``<class>/<object id>``.
            view: Index of the view, from 0.

        Returns:
            Shape (7,), float64, in the order of ``COLUMNS``.
        """
        u = generator(dataset_seed, object_key, view).random(10)
        angles = (2.0 * u[:3] - 1.0) * self.angle_max_rad
        if self.rotation == "vertical":
            angles[:2] = 0.0
        elif self.rotation == "haar":
            angles = _haar_euler(u[7:])
        elif self.rotation == "cone":
            angles = _cone_euler(u[7:], self.angle_max_rad)
        spans = zip(self.ranges()[3:], u[3:7], strict=True)
        rest = [low + (high - low) * t for (low, high), t in spans]
        return np.array([*angles, *rest])

    def scene(self, mesh: Mesh, latent: NDArray[np.float64]) -> Scene:
        """The scene that a latent describes.

        Args:
            mesh: The object.
            latent: Shape (7,).
        """
        theta, phi = float(latent[4]), float(latent[5])
        position = (
            SPOT_DISTANCE * math.sin(theta) * math.cos(phi),
            SPOT_DISTANCE * math.sin(theta) * math.sin(phi),
            SPOT_DISTANCE * math.cos(theta),
        )
        floor = rgb_from_hsv(float(latent[3]), FLOOR_SATURATION, FLOOR_VALUE)
        light = rgb_from_hsv(float(latent[6]), SPOT_SATURATION, SPOT_VALUE)
        return Scene(
            mesh=mesh,
            rotation=rotation_matrix(latent),
            camera=Camera(field_of_view_rad=self.field_of_view_rad),
            floor=Floor(color=floor),
            spot=Spot(position=position, color=light),
        )


def rotation_matrix(latents: NDArray[np.float64]) -> NDArray[np.float64]:
    """World from object, R = Rz(c) Ry(b) Rx(a), of latents of shape (..., 7 or more).

    Returns:
        Shape (..., 3, 3), float64.

    Example:
        >>> (rotation_matrix(np.zeros(7)) + 0.0).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    angles = np.moveaxis(np.asarray(latents, np.float64)[..., :3], -1, 0)
    (ca, cb, cc), (sa, sb, sc) = np.cos(angles), np.sin(angles)
    rows = [
        cc * cb, cc * sb * sa - sc * ca, cc * sb * ca + sc * sa,
        sc * cb, sc * sb * sa + cc * ca, sc * sb * ca - cc * sa,
        -sb, cb * sa, cb * ca,
    ]  # fmt: skip
    return np.stack(rows, -1).reshape(*angles.shape[1:], 3, 3)


def generator(dataset_seed: int, object_key: str, *counters: int) -> np.random.Generator:
    """A random generator that depends on its arguments alone, the same on every machine."""
    text = f"{dataset_seed}|{object_key}|{'|'.join(map(str, counters))}".encode()
    key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


def _haar_euler(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Extrinsic xyz angles of a uniform rotation from three uniform numbers.

    Haar measure in these angles has density |cos b|: a and c are uniform, sin b is too.
    """
    a, c = math.pi * (2 * u[0] - 1), math.pi * (2 * u[2] - 1)
    return np.array([a, math.asin(2 * u[1] - 1), c])


def _cone_euler(u: NDArray[np.float64], angle_max_rad: float) -> NDArray[np.float64]:
    """Extrinsic xyz angles of a Haar rotation, given that it tilts +z by at most an angle.

    A turn about the vertical, a tilt whose cosine is uniform, another turn: Rz(p) Ry(t) Rz(s).
    """
    tilt = math.acos(1.0 - u[1] * (1.0 - math.cos(angle_max_rad)))
    # SciPy's rounding is part of the sets that people have; the other laws do not wait for it.
    transform = import_module("scipy.spatial.transform")
    rotation = transform.Rotation.from_euler("ZYZ", [2 * math.pi * u[0], tilt, 2 * math.pi * u[2]])
    angles: NDArray[np.float64] = rotation.as_euler("xyz")
    return angles


def _refuse(argument: str, expected: str, got: str) -> None:
    raise ConventionError(
        expected=expected, got=got, argument=f"law.{argument}",
        advice="See the documentation of ViewLaw; 3DIEBench's law is the default.",
    )  # fmt: skip
