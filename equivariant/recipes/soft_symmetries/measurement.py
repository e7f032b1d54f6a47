"""A trained network under each candidate: errors, share of the loss, degrees of its layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from equivariant.errors import ConventionError
from equivariant.measure import (
    EquivarianceReport,
    IrrepSpectrum,
    LossShare,
    equivariance_error,
    symmetry_loss_share,
)
from equivariant.recipes.soft_symmetries.evaluation import in_float64
from equivariant.recipes.soft_symmetries.settings import SoftExperiment
from equivariant.recipes.soft_symmetries.task_sets import task_sets
from equivariant.workflows.measuring.symmetrized import has_spectrum, layer_spectra


@dataclass(frozen=True)
class Measurement:
    """What was found, by candidate.

    Args:
        errors: Equivariance errors.
        shares: Of the squared error on test items, for compact candidates.
        spectra: Of layers by path, under the first candidate whose characters are known.
        under: That candidate; "" for none.
        exact: Candidates that are exact in the data.
        notes: What was left out, and why.
    """

    errors: dict[str, EquivarianceReport]
    shares: dict[str, LossShare] = field(default_factory=dict)
    spectra: dict[str, IrrepSpectrum] = field(default_factory=dict)
    under: str = ""
    exact: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        return {
            "errors": {name: report.to_dict() for name, report in self.errors.items()},
            "shares": self.shares,
            "spectra": {name: found.to_dict() for name, found in self.spectra.items()},
            "under": self.under, "exact": list(self.exact), "notes": list(self.notes),
        }  # fmt: skip


def measure_network(
    model: nn.Module, config: SoftExperiment, *, items: int, elements: int, degrees: int
) -> Measurement:
    """Measure a trained network on test items.

    Args:
        model: The network.
        config: Its experiment.
        items: Test items, at least 2.
        elements: Elements of each candidate, at least 2.
        degrees: Largest degree that is told apart in layers, at least 0; -1 leaves spectra out.

    Raises:
        ConventionError: A number is out of range.
    """
    if items < 2 or elements < 2 or degrees < -1:
        raise ConventionError(
            expected="at least 2 items, 2 elements, degrees of at least -1",
            got=f"{items}, {elements}, {degrees}", argument="items, elements or degrees",
            advice="Leave them out for 64, 16 and 4.",
        )  # fmt: skip
    task = task_sets(config).test
    x, y, wide = task.x[:items].double(), task.y[:items].double(), in_float64(model)
    errors: dict[str, EquivarianceReport] = {}
    shares: dict[str, LossShare] = {}
    spectra: dict[str, IrrepSpectrum] = {}
    notes: list[str] = []
    under = ""
    for name, group in task.candidates.items():
        act_in, act_out = task.act_in.under(group), task.act_out.under(group)
        errors[name] = equivariance_error(wide, x, act_in=act_in, act_out=act_out, samples=elements)
        if group.compact:
            shares[name] = symmetry_loss_share(
                wide, x, y, act_in=act_in, act_out=act_out, samples=elements
            )
        else:
            notes.append(f"Share of the loss under {name}: the group has no mean.")
        if degrees >= 0 and not spectra and has_spectrum(group):
            spectra, left_out = layer_spectra(wide, x, act_in, degrees=degrees)
            under = name
            notes += left_out
    return Measurement(errors, shares, spectra, under, task.exact, tuple(notes))
