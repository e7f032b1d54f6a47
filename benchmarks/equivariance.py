"""How equivariant real networks are, and what it costs to find out.

    python benchmarks/equivariance.py                  # all; half an hour on a busy core
    python benchmarks/equivariance.py --quick          # a smoke run; writes nothing
    python benchmarks/equivariance.py --only escnn     # in an environment with escnn

Networks are trained for a minute on clouds of ``$EQUIVARIANT_DATA/lowpoly_cc0`` or on rendered
pictures. Every row is a whole measurement; groups of rows that were measured replace their
predecessors in benchmarks/results/equivariance.json, the others stay.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from trained_models import (  # noqa: E402
    CLASSES,
    QUICK,
    Budget,
    CloudData,
    EdgeNetwork,
    GatedNetwork,
    Kind,
    Training,
    accuracy,
    train_classifier,
    vectors_of,
)

from equivariant.actions import IrrepsAction, Points, Trivial, Vectors  # noqa: E402
from equivariant.actions.warps.interpolation import blur  # noqa: E402
from equivariant.groups import O3, SO3  # noqa: E402
from equivariant.measure import (  # noqa: E402
    EquivarianceReport,
    Estimate,
    declared,
    diagnose,
    equivariance_error,
    numerical_floor,
    split_precision,
)
from equivariant.nn import FrameAverage  # noqa: E402
from equivariant.runs import environment, read_json, write_json  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "equivariance.json"
Row = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """A network with what it is claimed to commute with.

    Args:
        name: For the table.
        model: In evaluation mode, float32.
        x: Items, float32.
        act_in: Action on the items.
        act_out: Action on the outputs.
        options: More of ``equivariance_error``.
        notes: Kept with the row.
    """

    name: str
    model: nn.Module
    x: Tensor
    act_in: Any
    act_out: Any
    options: dict[str, Any] = field(default_factory=dict)
    notes: Row = field(default_factory=dict)

    @property
    def claim(self) -> dict[str, Any]:
        """Arguments of every measurement."""
        return {"act_in": self.act_in, "act_out": self.act_out, **self.options}


def measure(
    subject: Subject, budget: Budget, *, half: bool = True, double: bool = True
) -> Iterator[Row]:
    """Rows of one network: float32, and where asked for bfloat16 and float64."""
    yield _row(subject, subject.model, subject.x, budget.samples, budget.split_samples)
    if half:
        try:
            model, x = deepcopy(subject.model).bfloat16(), subject.x.bfloat16()
            yield _row(subject, model, x, budget.split_samples, budget.split_samples)
        except (RuntimeError, NotImplementedError, TypeError) as error:
            why = str(error).strip().splitlines()[-1][:160]
            yield {"model": subject.name, "dtype": "bfloat16", "does_not_run": why}
    if double:
        model, x = deepcopy(subject.model).double(), subject.x.double()
        yield _row(subject, model, x, budget.split_samples, 0)


def _row(subject: Subject, model: nn.Module, x: Tensor, samples: int, split_samples: int) -> Row:
    generator = torch.Generator().manual_seed(0)
    report = equivariance_error(model, x, samples=samples, generator=generator, **subject.claim)
    row = {"model": subject.name, **numbers(report), **subject.notes}
    if split_samples:
        split = split_precision(model, x, samples=split_samples, **subject.claim)
        row["in_float64"] = split.true.estimate()
        row["split_samples"] = split_samples
        row["rounding"] = split.rounding[""].difference
    diagnosis = diagnose(model, x, report=report, **subject.claim)
    row["verdict"] = diagnosis.verdict.value
    row["findings"] = [str(finding) for finding in diagnosis.findings]
    row["floor"] = asdict(diagnosis.floor)
    return row


def numbers(report: EquivarianceReport) -> Row:
    """What the table shows of one measurement."""
    row: Row = {
        "dtype": report.dtype,
        "relative": report.estimate(),
        "worst": report.value("worst"),
        "normalized_mse": report.value("normalized_mse"),
        "special": {name: found[""] for name, found in report.special.items()},
        "seconds": report.seconds,
        "seconds_in_map": report.seconds_in_map,
        "calls": report.calls,
    }
    if report.table().logits:
        row |= {"flip_rate": report.estimate("flip_rate"), "kl": report.estimate("kl")}
    return row


_SPREAD = ("relative", "normalized_mse", "flip_rate", "kl", "aligned", "rotated")


def _spread(rows: list[Row], name: str) -> Row:
    found = [row[name] for row in rows]
    values = [float(v.value if isinstance(v, Estimate) else v) for v in found]
    tensor = torch.tensor(values, dtype=torch.float64)
    deviation = float(tensor.std()) if len(values) > 1 else None
    return {"mean": float(tensor.mean()), "std": deviation, "values": values}


def trained_rows(kind: Kind, budget: Budget, data: CloudData) -> Iterator[Row]:
    """An unconstrained network untrained, trained on aligned and on turned clouds."""
    kinds: tuple[Training, ...] = ("untrained", "aligned", "rotated")
    for training in kinds:
        first, others = None, []
        for seed in range(1 if training == "untrained" else budget.seeds):
            subject = classified(kind, training, seed, budget, data)
            if seed == 0:
                first = list(measure(subject, budget, double=False))
                others.append(first[0])
            else:
                report = equivariance_error(
                    subject.model, subject.x, samples=budget.split_samples, **subject.claim
                )
                others.append({**numbers(report), **subject.notes})
        assert first is not None
        first[0]["over_seeds"] = {name: _spread(others, name) for name in _SPREAD}
        yield from first


def classified(
    kind: Kind, training: Training, seed: int, budget: Budget, data: CloudData
) -> Subject:
    """A classifier of clouds, asked for invariance of its logits."""
    start = time.perf_counter()
    model = train_classifier(kind, training, seed=seed, data=data, steps=budget.steps)
    notes = {"train_seconds": time.perf_counter() - start, **accuracy(model, data)}
    print(f"{kind}, {training}, seed {seed}: {notes}", file=sys.stderr, flush=True)
    return Subject(
        f"{kind}, {training}", model, data.items(budget.items), Points(SO3()),
        Trivial(CLASSES, SO3()), {"logits": True}, notes,
    )  # fmt: skip


def constrained_rows(budget: Budget, data: CloudData) -> Iterator[Row]:
    """Vector neurons and averages over frames: equivariant by construction."""
    points, x = Points(SO3()), data.items(budget.items)
    neurons = classified("vector_neurons", "aligned", 0, budget, data)
    framed = classified("frame_average", "aligned", 0, budget, data)
    assert isinstance(neurons.model, nn.Sequential) and isinstance(framed.model, FrameAverage)
    backbone: Any = framed.model.backbone
    vectors = FrameAverage(backbone[0], SO3(), output="vectors")
    for subject in (
        neurons,
        Subject("vector_neurons, vectors", vectors_of(neurons.model), x, points,
                Vectors(SO3(), 32)),
        framed,
        Subject("frame_average, vectors", nn.Sequential(vectors, nn.Flatten(1)).eval(), x, points,
                Vectors(SO3(), 64)),
    ):  # fmt: skip
        yield from measure(subject, budget)


def e3nn_rows(budget: Budget, data: CloudData) -> Iterator[Row]:
    """Two networks of e3nn's parts; a quarter of the items and elements, as they are slow."""
    budget = replace(budget, items=max(2, budget.items // 4), samples=max(2, budget.samples // 4))
    torch.manual_seed(0)
    edges, gated, x = EdgeNetwork().eval(), GatedNetwork().eval(), data.items(budget.items)
    act_out, d = IrrepsAction(EdgeNetwork.irreps_out, O3()), declared(gated)
    features = torch.randn(budget.items, *d.widths, generator=torch.Generator().manual_seed(1))
    for subject in (
        Subject("e3nn on edges", edges, x, Points(O3()), act_out),
        Subject("e3nn, linear and gate", gated, features, d.act_in, d.act_out),
    ):
        yield from measure(subject, budget)
    yield _made_in_float64(x.double(), budget)


def _made_in_float64(x: Tensor, budget: Budget) -> Row:
    """The network of tensor products with its constants in float64 from the start.

    Those of a network that was made in float32 stay rounded when it is converted.
    """
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        model = EdgeNetwork().eval()
    finally:
        torch.set_default_dtype(torch.float32)
    act_out = IrrepsAction(EdgeNetwork.irreps_out, O3())
    subject = Subject("e3nn on edges, made in float64", model, x, Points(O3()), act_out)
    return _row(subject, model, x, budget.split_samples, 0)


def pair_rows(budget: Budget, data: CloudData) -> Iterator[Row]:
    """A ResNet on pictures, where the input is moved by rendering it again."""
    from trained_pairs import rendered_pairs  # noqa: PLC0415  (rendering is slow to import)

    yield from rendered_pairs(budget)


def escnn_rows(budget: Budget, data: CloudData) -> Iterator[Row]:
    """A steerable network of escnn on pictures; none where escnn is not installed."""
    try:
        from escnn_models import escnn_subjects  # noqa: PLC0415
    except ModuleNotFoundError as error:
        print(f"rows of escnn left out: {error}", file=sys.stderr)
        return
    for name, f, x, claim in escnn_subjects(budget.items):
        subject = Subject(name, f, x, claim.pop("act_in"), claim.pop("act_out"), claim)
        ideal = partial(blur, space=2, sigma_px=1.0, border="zeros")
        floor = numerical_floor(f, x, **subject.claim, reference=ideal)
        for row in measure(subject, budget, half=False, double=False):
            yield {**row, "error_of_a_blur": floor.reference}


def cost_rows(budget: Budget, data: CloudData) -> Iterator[Row]:
    """Time around the map, and growth of memory with the number of elements."""
    quick = budget == QUICK
    for samples in (2, 4) if quick else (8, 64, 256):
        command = [sys.executable, __file__, "--memory", str(samples)]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        seconds, inside, before, after = map(float, found)
        yield {
            "model": "dgcnn, cost", "dtype": "float32", "samples": samples, "items": 16,
            "seconds": seconds, "seconds_in_map": inside, "ratio": seconds / inside,
            "megabytes_of_map": before, "megabytes_more": after - before,
        }  # fmt: skip


def print_memory(samples: int) -> None:
    """One measurement in this process: seconds, of these in the map, peak before and after."""
    model = train_classifier("dgcnn", "untrained", seed=0, data=CloudData(), steps=0)
    x = torch.randn(16, 256, 3, generator=torch.Generator().manual_seed(0))
    claim: dict[str, Any] = {"act_in": Points(SO3()), "act_out": Trivial(CLASSES, SO3())}
    equivariance_error(model, x, samples=2, **claim)
    before = _peak()
    report = equivariance_error(model, x, samples=samples, **claim)
    print(report.seconds, report.seconds_in_map, before, _peak())


def _peak() -> float:
    """Largest resident set so far, in megabytes (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


GROUPS: dict[str, Callable[[Budget, CloudData], Iterator[Row]]] = {
    "pointnet": lambda budget, data: trained_rows("pointnet", budget, data),
    "dgcnn": lambda budget, data: trained_rows("dgcnn", budget, data),
    "constrained": constrained_rows,
    "e3nn": e3nn_rows,
    "escnn": escnn_rows,
    "pairs": pair_rows,
    "cost": cost_rows,
}


def main() -> None:
    """Measure, merge into the JSON file, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--quick", action="store_true", help="a smoke run; writes nothing")
    parser.add_argument("--json", type=Path, default=RESULTS, help="write the results here")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print_memory(options.memory)
        return
    budget, data = QUICK if options.quick else Budget(), CloudData()
    for name in options.only:
        start = time.perf_counter()
        rows = list(GROUPS[name](budget, data))
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        if rows and not options.quick:
            _merge(options.json, name, rows, budget, time.perf_counter() - start)
        if rows:
            print_table(rows)


def _merge(path: Path, name: str, rows: list[Row], budget: Budget, seconds: float) -> None:
    record = read_json(path) if path.is_file() else {}
    record[name] = {
        "budget": budget, "rows": rows, "seconds": seconds, "environment": environment(),
    }  # fmt: skip
    write_json(path, record)


def print_table(rows: list[Row]) -> None:
    """The rows as Markdown."""
    if "relative" not in rows[0]:
        print("\n".join(str(row) for row in rows), flush=True)
        return
    print("| model | dtype | relative [95 %] | in float64 | worst | flip | verdict | s (in map) |")
    print("|---" * 8 + "|")
    for row in rows:
        if "does_not_run" in row:
            print(f"| {row['model']} | {row['dtype']} | {row['does_not_run']} | | | | | |")
            continue
        cells = [
            row["model"], row["dtype"], str(row["relative"]), _short(row.get("in_float64")),
            _short(row.get("worst")), _short(row.get("flip_rate")), row.get("verdict", "-"),
            f"{row['seconds']:.1f} ({row['seconds_in_map']:.1f})",
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |")
    sys.stdout.flush()


def _short(number: Any) -> str:
    return "-" if number is None else f"{getattr(number, 'value', number):.2e}"


if __name__ == "__main__":
    main()
