"""Fixed sets of clouds, each mapped by a linear or affine map."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from datasets3d.clouds.surface_points import PointClouds
from datasets3d.views.latents import generator
from equivariant.actions import Points
from equivariant.errors import ConventionError
from equivariant.groups import GL, Elements, Sampler
from equivariant.shapes import Matrix


class TransformedClouds(NamedTuple):
    """Clouds and the maps that made them; row k is draw k % per_object of object k // per_object.

    Attributes:
        clouds: Shape (N · per_object, points, 3), float32.
        labels: Shape (N · per_object,), int64.
        matrices: g with cloud = g · (cloud of the object), shape (N · per_object, n, n), float64.
    """

    clouds: Tensor
    labels: Tensor
    matrices: Tensor


def transformed_clouds(
    dataset: PointClouds, law: Sampler | None = None, *, per_object: int = 1, seed: int = 0
) -> TransformedClouds:
    """Map the cloud of every object, each by maps of its own: a fixed labelled set.

        cloud[k] = g_k · x,   g_k drawn by the law

    The draws depend on (seed, draw) and the number of objects alone, so more of them per object
    change none of the others. Nothing is centred or scaled afterwards.

    Args:
        dataset: The clouds x.
        law: Of the maps g_k: a sampler over a group that moves points of space, whose draws
            have equal weights: ``TruncatedHaarSampler(SL(3), 0.5)``, ``HaarSampler(SO3())``. None
            leaves clouds as they are.
        per_object: Draws of each object, at least 1.
        seed: At least 0.

    Returns:
        Clouds, labels and maps.

    Raises:
        ConventionError: A number is out of its range, the group moves no points of space, or
            draws have weights.

    Example:
        >>> from datasets3d import ProceduralMeshes
        >>> from equivariant.groups import HaarSampler, SO3
        >>> source = ProceduralMeshes(instances=3, classes=["chair", "truck"], val_fraction=0.0)
        >>> data = PointClouds(source, points=32)
        >>> clouds, labels, g = transformed_clouds(data, HaarSampler(SO3()), per_object=2)
        >>> clouds.shape, labels.shape, g.shape
        (torch.Size([12, 32, 3]), torch.Size([12]), torch.Size([12, 3, 3]))
        >>> moved = Points(SO3())(g[5], data.clouds[2].double())
        >>> bool(torch.allclose(moved.float(), clouds[5]))
        True
    """
    for name, value, least in (("per_object", per_object, 1), ("seed", seed, 0)):
        if value < least:
            raise ConventionError(
                expected=f"at least {least}", got=str(value), argument=name,
                advice="See the documentation of transformed_clouds.",
            )  # fmt: skip
    law = cloud_law(law)
    count = len(dataset)
    seeds = [int(generator(seed, "maps", count, k).integers(2**63)) for k in range(per_object)]
    g = torch.stack([draw_maps(law, count, seed=bits) for bits in seeds], 1)
    moved: Tensor = Points(law.group)(g, dataset.clouds.double().unsqueeze(1))
    labels = dataset.labels.repeat_interleave(per_object)
    return TransformedClouds(moved.flatten(0, 1).float(), labels, g.flatten(0, 1))


def cloud_law(law: Sampler | None) -> Sampler:
    """The law, or the one that leaves clouds as they are.

    Raises:
        ConventionError: The law's group moves no points of space.
    """
    if law is None:
        return Elements(GL(3), torch.eye(3, dtype=torch.float64)[None])
    if law.group.space_dim != 3:
        raise ConventionError(
            expected="a law over a group that moves points of space",
            got=str(law.group), argument="law",
            advice="GL(3), SL(3), SO3(), SE3() and Affine(3) do.",
        )  # fmt: skip
    return law


def draw_maps(law: Sampler, count: int, *, seed: int) -> Matrix:
    """Elements drawn by a law, from a generator of their own.

    Args:
        law: The sampler.
        count: How many.
        seed: Of the generator, in [0, 2⁶⁴).

    Returns:
        Shape (count, n, n), float64.

    Raises:
        ConventionError: The draws have weights: they are no sample of the law.
    """
    drawn = law.draw(count, generator=torch.Generator().manual_seed(seed))
    if bool((drawn.weights != drawn.weights[:1]).any()):
        raise ConventionError(
            expected="a law whose draws have equal weights",
            got=f"weights from {float(drawn.weights.min())} to {float(drawn.weights.max())}",
            argument="law", advice="Take a sampler that draws from its law without weights.",
        )  # fmt: skip
    return drawn.elements
