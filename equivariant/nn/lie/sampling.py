"""Laws from which a network draws its group elements, by name."""

from __future__ import annotations

from typing import Literal, get_args

from equivariant.errors import check_option
from equivariant.groups import Group, LogNormalSampler, Sampler, TruncatedHaarSampler

SamplingName = Literal[
    "independent", "antithetic", "quasi", "stratified", "lognormal", "lognormal_unweighted"
]

LOG_NORMAL_SCALE = 0.1**0.5
"""Standard deviation of log(h hᵀ) in the published code."""


def sampler_by_name(
    name: SamplingName, group: Group, *, radius: float, scale_radius: float | None = None
) -> Sampler:
    """The law of a name.

    Args:
        name: "independent", "antithetic", "quasi" or "stratified": Haar measure up to the radii,
            see :class:`equivariant.groups.TruncatedHaarSampler`. "lognormal": log-normal
            stretches weighted to Haar measure. "lognormal_unweighted": the same without weights,
            as in the published code: its averages converge, but to something that is not
            equivariant.
        group: Linear maps of the plane or of space.
        radius: Of stretches; unused by the log-normal laws.
        scale_radius: Of scales; None takes ``radius``.

    Returns:
        The law.

    Raises:
        ConventionError: Another name, or radii that the law refuses.

    Example:
        >>> from equivariant.groups import GL
        >>> sampler_by_name("quasi", GL(2), radius=0.4).group
        GL(size=2)
    """
    check_option(name, get_args(SamplingName), "sampling")
    if name == "lognormal":
        return LogNormalSampler(group, LOG_NORMAL_SCALE)
    if name == "lognormal_unweighted":
        return LogNormalSampler(group, LOG_NORMAL_SCALE, weighted=False)
    return TruncatedHaarSampler(group, radius, scale_radius=scale_radius, method=name)
