"""Trained Lie networks with more group elements at test time: equivariance error and accuracy.

    python -m benchmarks.lie.trained_error --out runs/generalization

Takes the weights that ``benchmarks.lie.generalization digits`` kept under --out. For N = 10, 32 and
100 group elements in the layers: the relative equivariance error of the logits on 16 centred test
digits under the law that the network declares (8 elements each, 95 % interval over digits), and the
accuracy on 300 affNIST-style test digits. Before each, the statistics of normalization are set to
those of 256 training digits at that number (``LieNetwork.renormalize``). Writes
benchmarks/results/lie/trained_error.json; rows of networks whose weights are not there stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.lie.digit_rows import GROUPS, DigitStudy, build, weights_of
from benchmarks.lie.generalization import DATA, RESULTS
from benchmarks.lie.study import Job, accuracy
from equivariant.measure import equivariance_error
from equivariant.runs import environment, read_json, write_json

COUNTS = (10, 32, 100)


def measure(network: torch.nn.Module, study: DigitStudy, count: int) -> dict[str, float]:
    """Error and accuracy with a number of group elements."""

    def logits(x: torch.Tensor) -> torch.Tensor:
        return network(x, samples=count)

    network.renormalize(study.train_pictures(256), samples=count)
    x, y = study.test_set("affnist-style", "test")
    centred = study.test_set("centred", "test")[0][:16]
    d = network.declaration(centred)
    report = equivariance_error(
        logits, centred, act_in=d.act_in, act_out=d.act_out, law=d.law, samples=8
    )
    found = report.estimate()
    return {
        "error": found.value, "low": found.low, "high": found.high,
        "accuracy": accuracy(logits, x[:300], y[:300], 50),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the study's files")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of mnist")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cache = options.out / "test_sets"
    study = DigitStudy(options.data / "mnist", cache)
    before = read_json(RESULTS / "trained_error.json")["rows"]
    rows = []
    for row in GROUPS:
        for seed in (0, 1, 2):
            path = weights_of(cache, Job(row, 10_000, seed))
            if not path.is_file():
                rows += [r for r in before if (r["row"], r["seed"]) == (row, seed)]
                continue
            network = build(row).eval()
            network.load_state_dict(load_file(path))
            with torch.no_grad():
                found = {str(n): measure(network, study, n) for n in COUNTS}
            rows.append({"row": row, "seed": seed, "samples": found})
            print(row, seed, found, flush=True)
    write_json(RESULTS / "trained_error.json", {"rows": rows, "environment": environment()})


if __name__ == "__main__":
    main()
