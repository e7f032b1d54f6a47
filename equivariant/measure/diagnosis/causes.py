"""The usual causes of an equivariance error, and the question that finds each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.measure.diagnosis.examined import Dropping, Examined, NearElement
from equivariant.measure.error.table import compare, relative_error
from equivariant.measure.motions.motion import Substituted, TreeMotion
from equivariant.tree import rebuild

_SINGLE = 1e-6  # what constants in single precision leave in a float64 map
_BESIDE = 0.1  # from a half turn to elements of the same kind that are none


@dataclass(frozen=True)
class Finding:
    """A likely cause.

    Args:
        cause: What seems to be wrong.
        evidence: The numbers that say so.
        advice: What to do.
    """

    cause: str
    evidence: str
    advice: str

    def __str__(self) -> str:
        return f"{self.cause} ({self.evidence}). {self.advice}"


def causes_of(e: Examined) -> list[Finding]:
    """Every question that has an answer; the vaguer ones if the others have none."""
    found = [question(e) for question in (_training, _coupling, _randomness, _identity)]
    found += [question(e) for question in (_inverse, _invariance)]
    found += _kinds(e)
    if not any(found):  # else these would only repeat it
        found = [question(e) for question in (_jumps, _half_turns, _smooth)]
    return [finding for finding in found if finding is not None]


def _training(e: Examined) -> Finding | None:
    if not isinstance(e.f, nn.Module):
        return None
    kinds = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
    names = [n for n, m in e.f.named_modules() if isinstance(m, kinds) and m.training]
    if not names:
        return None
    return Finding(
        "layers are in training mode", f"{', '.join(names[:4])}", "Call model.eval() first."
    )


def _coupling(e: Examined) -> Finding | None:
    items = e.before.items(e.x)
    if items < 2 or not isinstance(e.before, TreeMotion):
        return None
    half = items // 2
    alone = e.evaluated(rebuild(e.x, lambda _, leaf: _rows(leaf, items, half)))
    difference = _relative(alone, e.evaluated(e.x)[:half])
    noise = 10 * e.report.repeat[e.output]  # half the batch draws other numbers
    if difference <= max(e.level, 0.01 * e.error, noise):
        return None
    return Finding(
        "items of a batch influence one another",
        f"half the batch alone changes its outputs by {difference:.1e}",
        "Batch statistics or a reduction over the batch axis: use evaluation mode, or "
        "measure with one item per batch.",
    )


def _randomness(e: Examined) -> Finding | None:
    repeat = e.report.repeat[e.output]
    if repeat <= max(0.1 * e.error, e.level):
        return None
    return Finding(
        "the map is random", f"repeat error {repeat:.1e}",
        "Dropout, sampling or atomics on a GPU: fix the seed inside the map, or switch them "
        "off.",
    )  # fmt: skip


def _identity(e: Examined) -> Finding | None:
    error = e.report.special.get("identity", {}).get(e.output, 0.0)
    if error <= max(e.level, 0.1 * e.error, 10 * e.report.repeat[e.output]):
        return None
    return Finding(
        "the error is there at the identity", f"{error:.1e} for g = 1",
        "An action does not leave things alone where it should, or the map remembers its calls.",
    )  # fmt: skip


def _inverse(e: Examined) -> Finding | None:
    if e.stays:
        return None
    error = e.again(act_out=Substituted(e.after, e.group.inverse))
    if not e.explains(error):
        return None
    return Finding(
        "outputs turn the other way", f"{error:.1e} with g⁻¹ on the output",
        "Rows against columns: a rotation is transposed somewhere, in the map or in an "
        "action (elements act on columns, x ↦ R x).",
    )  # fmt: skip


def _invariance(e: Examined) -> Finding | None:
    if e.stays:
        return None
    still = Substituted(e.after, lambda g: e.group.identity().to(g).expand_as(g))
    error = e.again(act_out=still)
    if not e.explains(error):
        return None
    return Finding(
        "outputs hardly turn", f"{error:.1e} against invariance",
        "Declare Trivial on the output, or look for the step that forgets the frame.",
    )  # fmt: skip


_ADVICE = {
    "reflections": "A pseudovector or pseudoscalar is declared with the other parity, or the map "
    "tells left from right.",
    "translations": "The map sees absolute coordinates: subtract the centre, or use differences.",
    "factor": "The other factors are sound: look at what this one moves.",
}


def _kinds(e: Examined) -> list[Finding | None]:
    """For each kind of motion that the group can drop: whether it alone breaks the claim."""
    found: list[Finding | None] = []
    for kind, drop in e.group.without().items():
        error = e.again(law=Dropping(e.group, drop, e.law, e.options.get("scale", 1.0)))
        if not e.explains(error):
            continue
        one = kind.startswith("factor")
        found.append(
            Finding(
                f"{kind} alone break{'s' if one else ''} it", f"{error:.1e} without",
                _ADVICE.get(kind.split()[0], f"The map is sound without {kind}."),
            )
        )  # fmt: skip
    return found


def _jumps(e: Examined) -> Finding | None:
    near = e.nearby
    if near is None:
        return None
    exact = float((near.errors <= near.nothing).double().mean())
    far = float((e.report.errors(output=e.output) <= e.rounding).double().mean())
    if exact < 0.5 or exact <= far:
        return None
    return Finding(
        "the error jumps",
        f"{exact:.0%} of elements within {near.distance:g} of the identity show none, {far:.0%} "
        "of all do",
        "A hard choice that depends on the pose: a limit on the number of neighbours, ties, "
        "sorting, argmax, a frame whose sign flips.",
    )


def _half_turns(e: Examined) -> Finding | None:
    """Largest at a half turn against the largest drawn, and the largest beside the half turn."""
    turns = {
        name: found[e.output]
        for name, found in e.report.special.items()
        if name.startswith(("half turn", "minus one"))
    }
    if not turns:
        return None
    name = max(turns, key=lambda key: turns[key])
    drawn = e.report.value("worst", output=e.output)
    if turns[name] <= max(e.level, 10 * drawn):
        return None
    centre = (e.law or e.group).special_elements()[name]
    beside = e.measured(law=NearElement(e.group, _BESIDE, centre)).value("worst", output=e.output)
    if turns[name] <= 10 * beside:
        return None
    return Finding(
        "a half turn is worse than all else",
        f"{turns[name]:.1e} at {name}, at most {max(drawn, beside):.1e} elsewhere",
        "A logarithm, an angle or a quaternion's sign is taken there.",
    )


def _smooth(e: Examined) -> Finding | None:
    near = e.nearby
    if near is None or e.report.dtype != "float64":
        return None
    if float(near.errors.median()) <= near.nothing:
        return None
    half = torch.finfo(getattr(torch, e.dtype)).eps if e.dtype in ("bfloat16", "float16") else 0.0
    if e.interpolates:
        cause, advice = "interpolation", "Compare with the floor, and mask the frame."
    elif e.error < half:
        cause = f"an error within one rounding of {e.dtype}, in float64"
        advice = f"A table or weights rounded to {e.dtype}, or a small layer not constrained."
    elif e.error < _SINGLE:
        cause = "an error of the size of single precision, in float64"
        advice = "A table, a constant or a cast inside the map is in float32."
    else:
        cause = "a smooth error that no precision removes"
        advice = (
            "A layer that is not constrained (`attribute` finds it), or a grid, quadrature "
            "or series too coarse for its degree: refine it and see whether the error falls."
        )
    return Finding(cause, f"{e.error:.1e} in float64", advice)


def _rows(leaf: Any, items: int, half: int) -> Any:
    batched = isinstance(leaf, Tensor) and leaf.ndim > 0 and leaf.shape[0] == items
    return leaf[:half] if batched else leaf


def _relative(a: Tensor, b: Tensor) -> float:
    numbers = compare(a, b, mask=None, item_of_row=None, items=len(a))
    return float(relative_error(numbers).max())
