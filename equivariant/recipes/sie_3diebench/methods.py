"""Methods as data: what projectors see, what of the embedding moves, and which terms compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from equivariant.losses import preset
from equivariant.losses.presets.equivariant import align, decorrelate, spread, spread_moved
from equivariant.losses.presets.preset import Plan

Method = Literal[
    "random", "supervised", "vicreg", "vicreg_part", "simclr", "augself", "byol",
    "conditional_byol", "only_equivariance", "sen", "equimod", "equimod_vicreg", "sie",
    "equimod_split", "exact",
]  # fmt: skip


@dataclass(frozen=True)
class MethodEntry:
    """One method.

    Args:
        title: What it is called in tables.
        projectors: "one" for all of the representation; "heads" for two that both see all of it;
            "halves" for one for each half.
        moves: What of the embedding the action moves: "nothing", "half" (the second one), "all".
        plan: Terms of the objective; None where the learner has its own.
        source: Paper or code with these terms.
    """

    title: str
    projectors: Literal["one", "heads", "halves"] = "one"
    moves: Literal["nothing", "half", "all"] = "nothing"
    plan: Callable[[], Plan] | None = None
    source: str = ""


def _named(name: str) -> Callable[[], Plan]:
    return lambda: preset(name).plan


def _vicreg_part() -> Plan:
    """VICReg that aligns the first half of the embedding only; 10, 10, 1."""
    return [align(10.0, 0), spread(10.0), decorrelate()]


def _only_equivariance() -> Plan:
    """SIE's terms on an embedding without an invariant half: no factor before the alignment."""
    return [align(10.0), spread(10.0), spread_moved(10.0), decorrelate()]


def _equimod_vicreg() -> Plan:
    """VICReg of each head by itself, the second after the action; no variance of predictions."""
    parts = (0, 1)
    return [term for k in parts for term in (align(10.0, k), spread(10.0, k), decorrelate(part=k))]


_SIE = "Garrido et al. 2023, published code"
METHODS: dict[str, MethodEntry] = {
    "random": MethodEntry("random weights"),
    "supervised": MethodEntry("supervised reference"),
    "vicreg": MethodEntry("VICReg, invariant", plan=_named("vicreg"), source=f"{_SIE}: VICReg"),
    "vicreg_part": MethodEntry(
        "VICReg, half aligned", plan=_vicreg_part, source=f"{_SIE}: VICRegPartInv"
    ),
    "simclr": MethodEntry("SimCLR, invariant", plan=_named("simclr"), source=f"{_SIE}: SimCLR"),
    "augself": MethodEntry(
        "SimCLR + AugSelf", plan=_named("simclr"), source=f"{_SIE}: SimCLRAugSelf (Lee et al. 2021)"
    ),
    "byol": MethodEntry("BYOL, invariant", source="Grill et al. 2020"),
    "conditional_byol": MethodEntry(
        "conditional BYOL", moves="all", source="BYOL whose predictor reads the element"
    ),
    "only_equivariance": MethodEntry(
        "only equivariance", moves="all", plan=_only_equivariance, source=f"{_SIE}: SIEOnlyEqui"
    ),
    "sen": MethodEntry(
        "only equivariance, contrast (SEN)", moves="all", plan=_named("simclr"),
        source=f"{_SIE}: SimCLROnlyEqui; Park et al. 2022 (SEN)",
    ),
    "equimod": MethodEntry(
        "EquiMod", "heads", "half", _named("equimod"), f"{_SIE}: SimCLREquiMod"
    ),
    "equimod_vicreg": MethodEntry(
        "EquiMod, VICReg", "heads", "half", _equimod_vicreg, f"{_SIE}: VICRegEquiMod"
    ),
    "sie": MethodEntry("SIE", "halves", "half", _named("sie"), f"{_SIE}: SIE"),
    "equimod_split": MethodEntry(
        "EquiMod's idea, split", "halves", "half", _named("equimod_split"), "ours"
    ),
    "exact": MethodEntry("split, exact action", "halves", "half", _named("exact"), "ours"),
}  # fmt: skip
SPLIT_METHODS = tuple(name for name, entry in METHODS.items() if entry.projectors == "halves")
AVERAGED_TEACHER = ("byol", "conditional_byol")
