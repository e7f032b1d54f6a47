"""What varies from view to view: seven numbers, their law, and the scene they describe."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from equivariant.errors import ConventionError
from renderers.color import rgb_from_hsv
from renderers.scene import Camera, Floor, Mesh, Scene, Spot

RotationLaw = Literal["box", "haar", "vertical"]
Range = tuple[float, float]

SPOT_DISTANCE = 4.0
FLOOR_SATURATION = FLOOR_VALUE = 0.6
SPOT_SATURATION, SPOT_VALUE = 1.0, 0.8
FIELD_OF_VIEW_RAD = Camera().field_of_view_rad


@dataclass(frozen=True)
class Column:
    """One number of a latent.

    Args:
        name: What it is.
        unit: "rad", or "turn" for a hue.
        meaning: One sentence.
    """

    name: str
    unit: str
    meaning: str


COLUMNS: tuple[Column, ...] = (
    Column("rotation_x_rad", "rad", "a of R = Rz(c) Ry(b) Rx(a): extrinsic turn about x"),
    Column("rotation_y_rad", "rad", "b of R = Rz(c) Ry(b) Rx(a): extrinsic turn about y"),
    Column("rotation_z_rad", "rad", "c of R = Rz(c) Ry(b) Rx(a): extrinsic turn about z, up"),
    Column("floor_hue", "turn", "hue of the floor, HSV(h, 0.6, 0.6)"),
    Column("spot_theta_rad", "rad", "angle of the spot light from +z"),
    Column("spot_phi_rad", "rad", "azimuth of the spot light"),
    Column("spot_hue", "turn", "hue of the spot light, HSV(h, 1, 0.8)"),
)


@dataclass(frozen=True)
class Law:
    """The probability law of a view; the defaults are 3DIEBench's.

    All factors are independent and uniform. A range of one point fixes a factor.

    Args:
        rotation: "box": three extrinsic xyz Euler angles uniform in ±angle_max_rad. "haar":
            uniform over all rotations, stored as such angles. "vertical": only the turn about
            the vertical axis, uniform in ±angle_max_rad.
        angle_max_rad: Largest angle of box and vertical, radians, in (0, π].
        floor_hue: Range of the floor's hue, turns, in [0, 1].
        spot_theta_rad: Range of the light's angle from the vertical, radians, in [0, π/2).
        spot_phi_rad: Range of the light's azimuth, radians.
        spot_hue: Range of the light's hue, turns, in [0, 1].
        field_of_view_rad: Opening angle of the camera, radians, in (0, π); smaller shows the
            object larger. It is the same for all views.

    Raises:
        ConventionError: A setting is out of its range.

    Example:
        >>> latent = Law().sample(0, "chair/chair-000001", view=3)
        >>> latent.shape, bool((abs(latent[:3]) <= math.pi / 2).all())
        ((7,), True)
    """

    rotation: RotationLaw = "box"
    angle_max_rad: float = math.pi / 2
    floor_hue: Range = (0.0, 1.0)
    spot_theta_rad: Range = (0.0, math.pi / 4)
    spot_phi_rad: Range = (0.0, 2.0 * math.pi)
    spot_hue: Range = (0.0, 1.0)
    field_of_view_rad: float = FIELD_OF_VIEW_RAD

    def __post_init__(self) -> None:
        if self.rotation not in ("box", "haar", "vertical"):
            _refuse("rotation", "box, haar or vertical", repr(self.rotation))
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
        ranges = (self.floor_hue, self.spot_theta_rad, self.spot_phi_rad, self.spot_hue)
        rest = [low + (high - low) * t for (low, high), t in zip(ranges, u[3:7], strict=True)]
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
        >>> rotation_matrix(np.zeros(7)).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    angles = np.asarray(latents)[..., :3].reshape(-1, 3)
    matrices: NDArray[np.float64] = Rotation.from_euler("xyz", angles).as_matrix()
    return matrices.reshape(*latents.shape[:-1], 3, 3)


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


def _refuse(argument: str, expected: str, got: str) -> None:
    raise ConventionError(
        expected=expected, got=got, argument=f"law.{argument}",
        advice="See the documentation of Law; 3DIEBench's law is the default.",
    )  # fmt: skip
