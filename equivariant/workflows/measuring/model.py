"""Measure the equivariance of any model: numbers, causes, symmetries, one page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from equivariant.actions import Action, Declares, ImageWarp, IrrepsAction, Trivial
from equivariant.actions.by_name import directions, named_action, named_group
from equivariant.errors import ConventionError, EquivariantError
from equivariant.groups import BallSampler, Group, Sampler
from equivariant.measure import (
    Attribution,
    Diagnosis,
    EquivarianceReport,
    FittedAction,
    IrrepSpectrum,
    LocalReport,
    LossShare,
    PrecisionSplit,
    Symmetries,
    TreeMotion,
    WorstCase,
    attribute,
    declared,
    diagnose,
    discover_symmetries,
    equivariance_error,
    fit_representation,
    local_equivariance_error,
    split_precision,
    worst_case,
)
from equivariant.measure.motions.e3nn_networks import graph_network
from equivariant.measure.motions.motion import common_group
from equivariant.tree import call, leaves, mapped, rebuild
from equivariant.workflows.measuring.foreign_model import DTYPES, load_inputs, load_model
from equivariant.workflows.measuring.symmetrized import has_spectrum, layer_spectra, loss_share


@dataclass(frozen=True)
class MeasureConfig:
    """What is measured, and how.

    Args:
        model: package.module:factory or file.py:factory; called without arguments, it returns
            a module or a function.
        group: SO2, SO3, O2, O3, SE2, SE3, E2, E3, Sim2, Sim3, Lorentz, GL2, GL3, Affine2,
            Affine3, Translation2, Translation3, or
            Permutation with --input rows:NxC. With --input declared the model's own.
        input: How the input moves: points[:N], vectors[:C], irreps:8x0e+4x1o, invariant[:D],
            image:CxHxW, volume:CxDxHxW, rows:NxC; several by name, positions=points,z=fixed
            (then --data holds them, and the model gets a dictionary); declared takes what the
            module declares, by a method ``declaration`` (then --data holds inputs), or by its
            irreps (e3nn) or field type (escnn).
        output: How the output moves, likewise, sizes may be left out; energy=invariant,
            forces=vectors for a dictionary; fit finds a linear action from the data.
        data: .npy, .npz or .safetensors with inputs; random ones if not given. For a run, where
            its data are now, if they were moved.
        items: Number of inputs.
        samples: Elements drawn for each.
        target: Stop when the interval's half-width is below this; 0 takes all samples.
        radius: Only elements within this distance of the identity, by Haar measure; 0 for all, or
            for the law that the model declares.
        scale: Standard deviation of translations and of other directions that are not compact.
        confidence: Of intervals.
        dtype: float64, float32 or bfloat16.
        device: Where to compute, as PyTorch names it.
        seed: Of random inputs and elements.
        logits: Outputs are logits: report how predictions change.
        forces: The model differentiates inside.
        margin: Pixels at the frame of warped outputs that do not count.
        local: Derivatives along the generators, forward, by differences, or off.
        layers: Also say which layers add how much (a run per layer and generator).
        worst: Also climb to the elements with the largest error (a few hundred runs).
        targets: .npy, .npz or .safetensors with what the outputs should be: also say which share
            of the squared error broken symmetry costs (compact groups).
        spectrum: Also say which irreps the features of every layer are made of, up to this degree
            (SO3: some thousand runs; groups of one angle: a few dozen); -1 for no.
    """

    model: str = ""
    group: str = "SO3"
    input: str = "declared"
    output: str = "invariant"
    data: Path | None = None
    items: int = 32
    samples: int = 64
    target: float = 0.0
    radius: float = 0.0
    scale: float = 1.0
    confidence: float = 0.95
    dtype: Literal["float64", "float32", "bfloat16"] = "float32"
    device: str = "cpu"
    seed: int = 0
    logits: bool = False
    forces: bool = False
    margin: float = 0.0
    local: Literal["forward", "differences", "off"] = "forward"
    layers: bool = False
    worst: bool = False
    targets: Path | None = None
    spectrum: int = -1


@dataclass(frozen=True)
class Measured:
    """What was found; parts that do not apply are None, with a note that says why.

    Args:
        config: What was asked.
        group: The group.
        report: Errors over drawn elements; None where an action was fitted instead.
        diagnosis: Verdict and likely causes.
        split: The same in float64, where the model is a module in less.
        local: Derivatives along generators.
        symmetries: Eigen-directions of the local errors.
        attributions: By direction, what each layer adds.
        worst: The elements with the largest error that a search found.
        fitted: The linear action that was found.
        share: The share of the loss that broken symmetry costs.
        spectra: Irreps of the features, by layer.
        notes: What could not be measured, and why.
    """

    config: MeasureConfig
    group: Group
    report: EquivarianceReport | None = None
    diagnosis: Diagnosis | None = None
    split: PrecisionSplit | None = None
    local: LocalReport | None = None
    symmetries: Symmetries | None = None
    attributions: dict[str, Attribution] = field(default_factory=dict)
    worst: WorstCase | None = None
    fitted: FittedAction | None = None
    share: LossShare | None = None
    spectra: dict[str, IrrepSpectrum] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Case:
    """A model with inputs and the actions on both sides of it."""

    f: Callable[..., Any]
    x: Any
    act_in: Any
    act_out: Any
    group: Group
    law: Sampler | None


def measure_model(config: MeasureConfig, *, progress: bool = True) -> Measured:
    """Measure a model in every way that applies to it.

    Args:
        config: What and how.
        progress: Show a bar on stderr.

    Raises:
        DataFormatError: The model or the data cannot be loaded.
        ConventionError: A name is not known, or the model declares nothing.
    """
    model = load_model(config.model, dtype=DTYPES[config.dtype], device=config.device)
    case = _case(config, model)
    if config.output == "fit":
        fitted = fit_representation(
            case.f, case.x, act_in=case.act_in, group=case.group, generator=_seeded(config)
        )
        return Measured(config, case.group, fitted=fitted)
    common = {"act_in": case.act_in, "act_out": case.act_out}
    options: dict[str, Any] = {
        "law": case.law,
        "scale": config.scale,
        "differentiates": config.forces,
    }
    report = equivariance_error(
        case.f, case.x, **common, **options, samples=config.samples,
        target=config.target or None, confidence=config.confidence, logits=config.logits,
        generator=_seeded(config), progress=progress,
    )  # fmt: skip
    diagnosis = diagnose(case.f, case.x, **common, **options, report=report, seed=config.seed)
    local, symmetries, attributions, notes = _local(config, case)
    split = None
    if isinstance(case.f, nn.Module) and config.dtype != "float64":
        try:
            split = split_precision(
                case.f, case.x, **common, **options, samples=min(16, config.samples),
                seed=config.seed,
            )  # fmt: skip
        except EquivariantError as error:
            notes.append(f"Error in float64: {error}")
    worst = None
    if config.worst and config.local != "off":
        try:
            worst = worst_case(
                case.f, case.x, **common, radius=config.radius or None, method=config.local,
                generator=_seeded(config),
            )  # fmt: skip
        except EquivariantError as error:
            notes.append(f"Worst case: {error}")
    share, spectra = _symmetrized(config, case, notes)
    return Measured(
        config, case.group, report, diagnosis, split, local, symmetries, attributions, worst,
        share=share, spectra=spectra, notes=tuple(notes),
    )  # fmt: skip


def _symmetrized(
    config: MeasureConfig, case: _Case, notes: list[str]
) -> tuple[LossShare | None, dict[str, IrrepSpectrum]]:
    """Share of the loss and irreps of layers, where they were asked for; notes get the rest."""
    single = isinstance(case.x, Tensor) and isinstance(case.act_in, Action)
    share: LossShare | None = None
    spectra: dict[str, IrrepSpectrum] = {}
    if config.targets is not None:
        if not (single and isinstance(case.act_out, Action)):
            raise ConventionError(
                expected="a model from one tensor to one, without a margin, for --targets",
                got="several tensors or a margin", argument="targets",
                advice="equivariant.measure.symmetry_loss_share takes any function.",
            )  # fmt: skip
        share = loss_share(
            case.f, case.x, config.targets, act_in=case.act_in, act_out=case.act_out,
            samples=config.samples,
        )  # fmt: skip
    if config.spectrum >= 0:
        if single and has_spectrum(case.group):
            spectra, left_out = layer_spectra(case.f, case.x, case.act_in, degrees=config.spectrum)
            notes += left_out
        else:
            notes.append(
                f"Irrep spectra: they need one input tensor, and SO3 or a compact group of one "
                f"angle, not {case.group}."
            )
    return share, spectra


def _local(
    config: MeasureConfig, case: _Case
) -> tuple[LocalReport | None, Symmetries | None, dict[str, Attribution], list[str]]:
    """Derivatives, symmetries and layers; what fails is noted, not hidden."""
    found: dict[str, Attribution] = {}
    if config.local == "off" or not case.group.dim:
        return None, None, found, []
    common = {"act_in": case.act_in, "act_out": case.act_out}
    local = symmetries = None
    notes = []
    try:
        named = directions(case.group)
        local = whole = local_equivariance_error(
            case.f, case.x, **common, directions=named, method=config.local
        )
        if named is not None and len(named) != case.group.dim:  # names that are not a basis
            whole = local_equivariance_error(case.f, case.x, **common, method=config.local)
        if local.overall.scale > 0:
            symmetries = discover_symmetries(whole, generator=_seeded(config))
        if config.layers and isinstance(case.f, nn.Module):
            for name, direction in zip(local.names, local.directions, strict=True):
                found[name] = attribute(
                    case.f, case.x, **common, act_of=_hidden(case), direction=direction,
                    method=config.local,
                )  # fmt: skip
    except EquivariantError as error:
        notes.append(f"Local errors: {error}")
    return local, symmetries, found, notes


def _hidden(case: _Case) -> Callable[[str, Any], Action | None]:
    """How hidden outputs ought to move: by declared irreps; images with the input; else not."""
    modules = dict(case.f.named_modules()) if isinstance(case.f, nn.Module) else {}
    warps = isinstance(case.act_in, ImageWarp)

    def act_of(layer: str, output: Any) -> Action | None:
        irreps = getattr(modules.get(layer), "irreps_out", None)
        if irreps is not None:
            return IrrepsAction(irreps, case.group)
        if not isinstance(output, Tensor) or not output.is_floating_point() or output.ndim < 2:
            return None
        if warps and output.ndim == 4:
            size = (int(output.shape[2]), int(output.shape[3]))
            return ImageWarp(case.group, size, channels=int(output.shape[1]))
        return Trivial(int(output.shape[-1]), case.group)

    return act_of


def _case(config: MeasureConfig, model: Callable[..., Any]) -> _Case:
    """The model with its inputs and actions, as the settings say or as it declares them."""
    dtype = DTYPES[config.dtype]
    data = None
    if config.data is not None:
        flat = config.input == "declared" and graph_network(model) is not None
        data = load_inputs(
            config.data, items=None if flat else config.items, dtype=dtype, device=config.device
        )
    if config.input == "declared":
        return _declared_case(config, model, data)
    rows = config.input.partition("rows:")[2].partition("x")[0]
    group = named_group(config.group, rows=int(rows) if rows.isdecimal() else 0)
    act_in, x = _input(config, group, data)
    law = BallSampler(group, config.radius) if config.radius else None
    if config.output == "fit":
        return _Case(model, x, act_in, None, group, law)
    with torch.set_grad_enabled(config.forces):
        y = call(model, x)
    act_out = _tree(config.output, group, y)
    if config.margin:
        act_out = TreeMotion(act_out, margin_px=config.margin)
    return _Case(model, x, act_in, act_out, group, law)


def _declared_case(
    config: MeasureConfig, model: Callable[..., Any], data: dict[str, Tensor] | None
) -> _Case:
    """The same for a model that declares how it moves, such as modules of e3nn and escnn."""
    x: Any = None
    if data is not None:
        x = tuple(data.values()) if len(data) > 1 else next(iter(data.values()))
    if x is None and isinstance(model, Declares):
        raise ConventionError(
            expected="--data with inputs for a model with a method declaration", got="none",
            argument="data", advice="It looks at an input; save some with numpy.save.",
        )  # fmt: skip
    d = declared(model, x)
    group = common_group(*d.motions())
    law = BallSampler(group, config.radius) if config.radius else d.law

    def cast(leaf: Tensor) -> Tensor:
        dtype = DTYPES[config.dtype] if leaf.is_floating_point() else None
        return leaf.to(device=config.device, dtype=dtype)

    if data is None:
        x = mapped(d.draw(config.items, seed=config.seed), cast)
    elif d.graph is not None:
        x = data
    return _Case(d.f, x, d.act_in, d.act_out, group, law)


def _input(config: MeasureConfig, group: Group, data: dict[str, Tensor] | None) -> tuple[Any, Any]:
    """The action on the inputs, and the inputs: those of a file, or random ones."""
    if "=" in config.input:
        if data is None:
            raise ConventionError(
                expected="--data for inputs of several tensors", got="none", argument="data",
                advice="Save them by name with numpy.savez.",
            )  # fmt: skip
        return _tree(config.input, group, data), data
    if data is not None:
        x = next(iter(data.values()))
        return named_action(config.input, group, like=x).action, x
    named = named_action(config.input, group)
    x = named.draw(config.items, _seeded(config))
    return named.action, x.to(device=config.device, dtype=DTYPES[config.dtype])


def _tree(names: str, group: Group, like: Any) -> Any:
    """Actions on a tree: one name for all of a tensor, or path=name pairs."""
    found = leaves(like)
    if "=" not in names:
        only = next(iter(found.values()))
        if len(found) != 1 or not isinstance(only, Tensor):
            raise ConventionError(
                expected="path=name pairs, joined by commas, for outputs of several tensors",
                got=f"{names!r} for {sorted(found)}", argument="output",
                advice="For example energy=invariant,forces=vectors; others are not compared.",
            )  # fmt: skip
        return rebuild(like, lambda _, leaf: named_action(names, group, like=leaf).action)
    pairs = dict(pair.split("=", 1) for pair in names.split(","))
    unknown = set(pairs) - set(found)
    if unknown:
        raise ConventionError(
            expected=f"paths among {sorted(found)}", got=f"{sorted(unknown)}", argument="input or "
            "output", advice="Names are those of the dictionary, indices those of a tuple.",
        )  # fmt: skip

    def one(name: str, leaf: Any) -> Action | None:
        kind = pairs.get(name, "fixed")
        return None if kind == "fixed" else named_action(kind, group, like=leaf).action

    return rebuild(like, one)


def _seeded(config: MeasureConfig, offset: int = 0) -> torch.Generator:
    """A fresh source of random numbers: every measurement draws the same."""
    return torch.Generator().manual_seed(config.seed + offset)
