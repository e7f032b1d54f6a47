"""Groups whose elements are square matrices, and the borders to other parametrizations."""

from equivariant.groups.affine import Affine, plane_directions
from equivariant.groups.algebra import haar_density, structure_constants
from equivariant.groups.base import Group
from equivariant.groups.bilinear_forms import IndefiniteOrthogonal, Symplectic
from equivariant.groups.decompositions import KAK, Decomposition, Iwasawa, Polar
from equivariant.groups.embedded import Embedded
from equivariant.groups.finite import (
    CubeFaces,
    Cyclic,
    Dihedral,
    Finite,
    Generated,
    Octahedral,
    TrivialGroup,
)
from equivariant.groups.linear import GL
from equivariant.groups.logarithm import principal_log
from equivariant.groups.lorentz import Lorentz
from equivariant.groups.o3 import O3
from equivariant.groups.permutation import Permutation
from equivariant.groups.polar_samplers import LogNormalSampler, TruncatedHaarSampler
from equivariant.groups.product import Product
from equivariant.groups.reductive import Reductive
from equivariant.groups.reflections import E2, E3, O2, O
from equivariant.groups.samplers import (
    BallSampler,
    Elements,
    HaarSampler,
    NormalSampler,
    Sampler,
    Weighted,
    effective_sample_size,
)
from equivariant.groups.scaled_rotations import ScaledRotations
from equivariant.groups.scaling import Scaling
from equivariant.groups.se2 import SE2
from equivariant.groups.se3 import SE3
from equivariant.groups.semidirect import Semidirect
from equivariant.groups.semidirect_sampler import SemidirectSampler
from equivariant.groups.similarity import Sim
from equivariant.groups.so2 import SO2
from equivariant.groups.so3 import (
    SO3,
    euler_xyz_extrinsic_from_matrix,
    matrix_from_euler_xyz_extrinsic,
    matrix_from_quaternion_xyzw,
    quaternion_xyzw_from_euler_xyz_extrinsic,
    quaternion_xyzw_from_matrix,
    quaternion_xyzw_product,
    relative_quaternion_xyzw,
    relative_quaternion_xyzw_of_angles,
    rotation_angle,
    rotation_vector_from_quaternion_xyzw,
)
from equivariant.groups.special_linear import SL
from equivariant.groups.special_orthogonal import SO
from equivariant.groups.spin3 import Spin3
from equivariant.groups.torus import Torus
from equivariant.groups.translation import Translation
from equivariant.groups.union import Union

__all__ = [
    "E2",
    "E3",
    "GL",
    "KAK",
    "O2",
    "O3",
    "SE2",
    "SE3",
    "SL",
    "SO",
    "SO2",
    "SO3",
    "Affine",
    "BallSampler",
    "CubeFaces",
    "Cyclic",
    "Decomposition",
    "Dihedral",
    "Elements",
    "Embedded",
    "Finite",
    "Generated",
    "Group",
    "HaarSampler",
    "IndefiniteOrthogonal",
    "Iwasawa",
    "LogNormalSampler",
    "Lorentz",
    "NormalSampler",
    "O",
    "Octahedral",
    "Permutation",
    "Polar",
    "Product",
    "Reductive",
    "Sampler",
    "ScaledRotations",
    "Scaling",
    "Semidirect",
    "SemidirectSampler",
    "Sim",
    "Spin3",
    "Symplectic",
    "Torus",
    "Translation",
    "TrivialGroup",
    "TruncatedHaarSampler",
    "Union",
    "Weighted",
    "effective_sample_size",
    "euler_xyz_extrinsic_from_matrix",
    "haar_density",
    "matrix_from_euler_xyz_extrinsic",
    "matrix_from_quaternion_xyzw",
    "plane_directions",
    "principal_log",
    "quaternion_xyzw_from_euler_xyz_extrinsic",
    "quaternion_xyzw_from_matrix",
    "quaternion_xyzw_product",
    "relative_quaternion_xyzw",
    "relative_quaternion_xyzw_of_angles",
    "rotation_angle",
    "rotation_vector_from_quaternion_xyzw",
    "structure_constants",
]
