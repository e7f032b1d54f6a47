"""Groups whose elements are square matrices, and the borders to other parametrizations."""

from equivariant.groups.base import Group
from equivariant.groups.haar import (
    BallSampler,
    Elements,
    HaarSampler,
    NormalSampler,
    Sampler,
    Weighted,
    effective_sample_size,
    haar_density,
    structure_constants,
)
from equivariant.groups.o3 import O3
from equivariant.groups.product import Product
from equivariant.groups.se3 import SE3
from equivariant.groups.so2 import SO2
from equivariant.groups.so3 import (
    SO3,
    euler_xyz_extrinsic_from_matrix,
    matrix_from_euler_xyz_extrinsic,
    matrix_from_quaternion_xyzw,
    quaternion_xyzw_from_matrix,
    quaternion_xyzw_product,
    relative_quaternion_xyzw,
    rotation_angle,
    rotation_vector_from_quaternion_xyzw,
)
from equivariant.groups.spin3 import Spin3
from equivariant.groups.torus import Torus
from equivariant.groups.translation import Translation

__all__ = [
    "O3",
    "SE3",
    "SO2",
    "SO3",
    "BallSampler",
    "Elements",
    "Group",
    "HaarSampler",
    "NormalSampler",
    "Product",
    "Sampler",
    "Spin3",
    "Torus",
    "Translation",
    "Weighted",
    "effective_sample_size",
    "euler_xyz_extrinsic_from_matrix",
    "haar_density",
    "matrix_from_euler_xyz_extrinsic",
    "matrix_from_quaternion_xyzw",
    "quaternion_xyzw_from_matrix",
    "quaternion_xyzw_product",
    "relative_quaternion_xyzw",
    "rotation_angle",
    "rotation_vector_from_quaternion_xyzw",
    "structure_constants",
]
