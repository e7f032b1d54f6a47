"""The equivariance error of a network under motions of parts, part by part, beside its bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equivariant.actions import Piecewise, Trivial
from equivariant.errors import ShapeError
from equivariant.groups import SE3, Group, Sampler
from equivariant.measure import EquivarianceReport, equivariance_error
from equivariant.measure.error.statistics import Estimate, estimate_mean
from equivariant.nn.apen import Prediction
from equivariant.shapes import Float, Int

WHOLE = "all"


@dataclass(frozen=True)
class PieceReport:
    """How much predicted probabilities change as parts move, and what was promised.

    Args:
        report: The whole measurement, an output for each part and one for all.
        errors: By part, "all" among them: root of the mean over its points of |p(g·x) - p(x)|₂²,
            p the vector of class probabilities, at most √2; mean over clouds and motions, with
            its interval.
        certificate: Mean over clouds of the bound on the probability of a change above the
            tolerance; None for networks without one.
        tolerance: That the certificate is about; None likewise.
        bound: Bound on the mean of "all" for clouds and motions by the law of calibration, the
            root of √2 times ``ErrorBound.mean_error``, as |d|² <= √2 |d|; None likewise.
    """

    report: EquivarianceReport
    errors: dict[str, Estimate]
    certificate: float | None
    tolerance: float | None
    bound: float | None

    def __str__(self) -> str:
        lines = [f"{'part':>8}  change of probabilities"]
        for name, found in self.errors.items():
            lines.append(f"{name:>8}  {found.value:.2e} [{found.low:.2e}, {found.high:.2e}]")
        if self.bound is not None:
            lines.append(
                f"promised for motions as in calibration: {self.bound:.2e} on average; more than "
                f"{self.tolerance:g} with probability at most {self.certificate:.2f}"
            )
        return "\n".join(lines)


def measure_pieces(
    model: Callable[[Tensor], Any],
    clouds: Float[Tensor, "batch points 3"],
    parts: Int[Tensor, "batch points"],
    *,
    group: Group | None = None,
    law: Sampler | None = None,
    scale: float = 1.0,
    samples: int = 16,
    generator: torch.Generator | None = None,
) -> PieceReport:
    """Move every part by an element of its own and see what happens to the predicted classes.

    The measurement is :func:`equivariant.measure.equivariance_error` with the action
    ``Piecewise(group, parts)`` on the clouds and the trivial one on the probabilities.

    Args:
        model: Clouds to logits, (batch, points, classes) or (batch, classes), as a tensor or as a
            prediction of :class:`equivariant.nn.APENSegmenter` or its classifier, whose
            certificates are then shown beside the errors. In evaluation mode.
        clouds: Shape (batch, points, 3).
        parts: Part of each point, every number from 0 up to the largest less than the number of
            parts; a cloud may lack some.
        group: Of each part; None for SE3().
        law: Of the elements of the product group; None for ``group.sample`` with ``scale``.
        scale: Length of translations, in the unit of the clouds.
        samples: Motions per cloud, at least 1.
        generator: Source of the motions; None takes a fresh one with seed 0.

    Returns:
        Errors of each part and of all points.

    Raises:
        ShapeError: Not one part per point.

    Example:
        >>> from equivariant.nn import APENConfig, APENSegmenter
        >>> model = APENSegmenter(2, APENConfig(cells=8, widths=(8,), sigmas=(0.3,))).eval()
        >>> parts = (torch.arange(40) // 20).expand(2, -1)
        >>> found = measure_pieces(model, torch.randn(2, 40, 3), parts, samples=4)
        >>> list(found.errors), found.certificate
        (['all', 'part 0', 'part 1'], 1.0)
    """
    if parts.shape != clouds.shape[:2]:
        raise ShapeError(
            expected=f"parts of shape {tuple(clouds.shape[:2])}", got=f"{tuple(parts.shape)}",
            argument="parts", advice="Give every point of every cloud a part.",
        )  # fmt: skip
    group = SE3() if group is None else group
    count = int(parts.max()) + 1
    with torch.no_grad():
        known = model(clouds)
    sizes = _sizes(parts, count, per_point=_logits(known).ndim == 3)
    classes = _logits(known).shape[-1]
    report = equivariance_error(
        lambda x: _by_part(_logits(model(x)).softmax(-1), parts, sizes), clouds,
        act_in=Piecewise(group, parts, count=count),
        act_out={name: Trivial(classes) for name in sizes},
        law=law, scale=scale, samples=samples, generator=generator,
    )  # fmt: skip
    errors = {
        name: estimate_mean(
            report.table(name).gap / size.clamp(min=1).sqrt()[:, None],
            weights=report.table(name).weights * (size > 0)[:, None], limits=(0.0, 2.0**0.5),
        )
        for name, size in sizes.items()
    }  # fmt: skip
    certified = isinstance(known, Prediction)
    return PieceReport(
        report, errors,
        float(known.certificate.mean()) if certified else None,
        known.bound.tolerance if certified else None,
        float((known.bound.largest * known.bound.mean_error.mean()).sqrt()) if certified else None,
    )  # fmt: skip


def _logits(output: Any) -> Tensor:
    logits: Tensor = output if isinstance(output, Tensor) else output["logits"]
    return logits


def _sizes(parts: Tensor, count: int, *, per_point: bool) -> dict[str, Tensor]:
    """Number of points of each part in each cloud; one "point" for a class of the whole."""
    if not per_point:
        return {WHOLE: torch.ones(len(parts), dtype=torch.float64)}
    whole = torch.full((len(parts),), parts.shape[1], dtype=torch.float64)
    own = {f"part {p}": (parts == p).sum(1).double().cpu() for p in range(count)}
    return {WHOLE: whole, **own}


def _by_part(values: Tensor, parts: Tensor, sizes: dict[str, Tensor]) -> dict[str, Tensor]:
    """The values of the points of each part, zero elsewhere."""
    found = {WHOLE: values}
    for p in range(len(sizes) - 1):
        found[f"part {p}"] = values * (parts == p).unsqueeze(-1)
    return found
