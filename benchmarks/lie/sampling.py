"""Equivariance error of a group convolution against the number of samples, by sampler.

    python -m benchmarks.lie.sampling             # about half an hour on one core; goes on
    python -m benchmarks.lie.sampling --table     # table and picture of the results on disk

A convolution of functions, without any network:

    (K F)(h) = ∫ F(h̃) k(h⁻¹ h̃) dμ(h̃)  ≈  (1/N) Σ_i w_i F(h_i) k(h⁻¹ h_i)

It is equivariant: K(L_a F)(h) = (K F)(a⁻¹ h), (L_a F)(h) = F(a⁻¹ h). Both sides are estimated by
independent samples; the error is the root mean square of their difference over repetitions and
six points h, divided by the root mean square of K F.

    k(h) = φ(h) (1 + sin(⟨v, h⟩) / 2),   F(h) = φ(h) (1 + tanh⟨w, h⟩),
    φ(h) = (1 - s/c)₊²,   s = Σ (cosh 2x_i - 1),   x the logarithms of singular values

The window φ vanishes beyond a radius, chosen so that F and L_a F vanish outside of the truncated
region: the truncated law leaves nothing out, and its only error is that of sampling.

methods      truncated Haar: independent, antithetic, quasi (scrambled Sobol), stratified;
             log-normal stretches, weighted (deviation 0.9) and unweighted (√0.1, as published)
predicted    the Monte Carlo standard error that the draws themselves tell: from the variance of
             the terms (of pairs of terms for antithetic draws)
reduction    variance of independent draws over that of a method, at N = 10, 32, 100
radius       error when the region is cut off elsewhere than at the radius that F needs, divided by
             what is left of K F
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from equivariant.groups import GL, SL, LogNormalSampler, TruncatedHaarSampler
from equivariant.report import Line, plot
from equivariant.runs import environment, write_atomically, write_json

RESULTS = Path(__file__).parents[1] / "results" / "lie_sampling.json"
PICTURE = RESULTS.with_suffix(".svg")
HAAR = ("independent", "antithetic", "quasi", "stratified")
METHODS = (*HAAR, "log-normal weighted", "log-normal unweighted")
SIZES = (10, 32, 100, 316, 1000, 3162, 10_000, 31_622, 100_000, 316_228)
SMALL = (10, 32, 100)
COLUMNS = (10, 100, 1000, 10_000, 100_000, 316_228)  # of the table
RADII = (0.5, 0.6, 0.7, 0.8, 1.0, 1.3, 1.7)  # times the radius that F needs
DRAWS = 200_000  # at once


@dataclass(frozen=True)
class Case:
    """A group, a motion a, and the radii of the windows of F and k."""

    group: GL | SL
    motion: tuple[tuple[float, ...], ...]
    of_f: float
    of_k: float

    @property
    def a(self):
        """The motion, of determinant 1 for SL(n)."""
        a = torch.tensor(self.motion, dtype=torch.float64)
        return a / torch.linalg.det(a) ** (1 / len(a)) if isinstance(self.group, SL) else a

    @property
    def needed(self):
        """Radius of deviations and of the mean beyond which F and L_a F vanish."""
        x = torch.linalg.svdvals(self.a).log()
        mean = float(x.mean())
        return self.of_f + float((x - mean).abs().max()), self.of_f + abs(mean)

    def sampler(self, method, *, stretch=1.0):
        """The sampler of a method; of truncated laws with radii times ``stretch``."""
        if method == "log-normal weighted":
            return LogNormalSampler(self.group, 0.9)
        if method == "log-normal unweighted":
            return LogNormalSampler(self.group, 0.1**0.5, weighted=False)
        radius, scale = (stretch * r for r in self.needed)
        return TruncatedHaarSampler(self.group, radius, scale_radius=scale, method=method)

    def points(self):
        """Six elements h near the identity."""
        law = TruncatedHaarSampler(self.group, 0.15)
        return law.draw(6, generator=seeded(str(self.group), "points")).elements


CASES = {
    "GL(2)": Case(GL(2), ((1.2, 0.25), (-0.15, 0.85)), 0.5, 0.7),
    "SL(2)": Case(SL(2), ((1.2, 0.25), (-0.15, 0.85)), 0.5, 0.7),
    "SL(3)": Case(SL(3), ((1.1, 0.15, 0.0), (-0.1, 0.95, 0.1), (0.05, -0.1, 0.95)), 0.6, 0.9),
}


def seeded(*words):
    """A generator whose seed is derived from words."""
    return torch.Generator().manual_seed(zlib.crc32(" ".join(map(str, words)).encode()))


def window(h, radius):
    """φ, which vanishes where a deviation of x from its mean, or the mean, exceeds the radius."""
    n = h.shape[-1]
    gram = h.mT @ h
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    det = torch.linalg.det(h).square() if n > 2 else _square_det(h)
    if n == 2:
        inverse, cut = trace / det, 2 * (math.cosh(2 * radius) - 1)
    else:  # of sum 0, x = (ρ, -ρ/2, -ρ/2) is where the largest |x| has the least s
        inverse = 0.5 * (trace.square() - gram.square().sum((-2, -1))) / det
        cut = math.cosh(2 * radius) - 1 + 2 * (math.cosh(radius) - 1)
    s = 0.5 * (trace + inverse) - n
    return (1 - s / cut).clamp(min=0.0).square()


def _square_det(h):
    return (h[..., 0, 0] * h[..., 1, 1] - h[..., 0, 1] * h[..., 1, 0]).square()


def ripple(h, name):
    """⟨v, h⟩ for a vector drawn once, shape (...)."""
    n = h.shape[-1]
    v = torch.randn(n * n, generator=seeded("ripple", name, n), dtype=torch.float64)
    return h.flatten(-2) @ v


def kernel(h, case):
    return window(h, case.of_k) * (1 + 0.5 * ripple(h, "k").sin())


def feature(h, case):
    return window(h, case.of_f) * (1 + ripple(h, "F").tanh())


def estimate(case, drawn, scale, *, moved):
    """(K L_a F)(h), or (K F)(a⁻¹ h) where ``moved`` is false, and the variance of a term's mean.

    Returns shape (points, sets) each.
    """
    back, points = torch.linalg.inv(case.a), torch.linalg.inv(case.points())
    h = drawn.elements
    values = scale * drawn.weights * feature(back @ h if moved else h, case)
    shift = points if moved else points @ case.a
    count, means, variances = h.shape[-3], [], []
    for g in shift:
        terms = values * kernel(g @ h, case)
        means.append(terms.mean(-1))
        variances.append(terms.var(-1) / count)
        if count % 2 == 0:
            pairs = 0.5 * (terms[..., : count // 2] + terms[..., count // 2 :])
            variances[-1] = torch.stack([variances[-1], pairs.var(-1) / (count // 2)])
        else:
            variances[-1] = variances[-1].expand(2, *variances[-1].shape)
    return torch.stack(means), torch.stack(variances, 1)


def both_sides(case, sampler, size, repetitions, *words):
    """Estimates of both sides, shape (points, repetitions), and the sum of their variances."""
    scale = getattr(sampler, "volume", 1.0)
    sides = []
    for side in (True, False):
        parts, done = [], 0
        while done < repetitions:
            sets = max(1, min(repetitions - done, DRAWS // size))
            generator = seeded(*words, size, side, done)
            drawn = sampler.draw(sets, size, generator=generator)
            parts.append(estimate(case, drawn, scale, moved=side))
            done += sets
        sides.append([torch.cat(part, -1) for part in zip(*parts, strict=True)])
    (left, left_variance), (right, right_variance) = sides
    return left, right, left_variance + right_variance


def digits(values):
    """Five significant digits of each number."""
    return [float(f"{value:.5g}") for value in values.tolist()]


def error_against_size(name, method, size):
    """Squared differences of each repetition, what was predicted, and the size of K F."""
    repetitions = 100 if size <= 10_000 else 30
    sampler = CASES[name].sampler(method)
    left, right, variance = both_sides(CASES[name], sampler, size, repetitions, name, method)
    return {
        "squared difference": digits((left - right).square().mean(0)),
        "predicted variance": float(variance[int(method == "antithetic")].mean()),
        "mean square of K F": float((0.5 * (left + right)).mean(-1).square().mean()),
        "mean square bias": float((left - right).mean(-1).square().mean()),
    }


def reduction(name, size):
    """Mean square of (K F)(h) about its mean over 20 groups of 100 sets, by method."""
    case, found = CASES[name], {}
    for method in METHODS[:-1]:
        sampler = case.sampler(method)
        drawn = sampler.draw(2000, size, generator=seeded(name, method, size, "reduction"))
        values, _ = estimate(case, drawn, getattr(sampler, "volume", 1.0), moved=False)
        about = values.reshape(len(values), 20, 100) - values.mean(-1)[:, None, None]
        found[method] = digits(about.square().mean((0, 2)))
    return found


def error_against_radius(name, stretch, size):
    """Squared differences of repetitions with the region cut off elsewhere."""
    sampler = CASES[name].sampler("independent", stretch=stretch)
    left, right, _ = both_sides(CASES[name], sampler, size, 40, name, "radius", stretch)
    return {
        "squared difference": digits((left - right).square().mean(0)),
        "mean square of K F": float((0.5 * (left + right)).mean(-1).square().mean()),
    }


def work():
    """Every number's place in the results, and how it is measured."""
    for name in CASES:
        for method in METHODS:
            for size in SIZES:
                yield ("error", name, method, str(size)), error_against_size, (name, method, size)
        for size in SMALL:
            yield ("reduction", name, str(size)), reduction, (name, size)
        for size in (100, 10_000):
            for stretch in RADII:
                place = ("radius", name, str(size), str(stretch))
                yield place, error_against_radius, (name, stretch, size)


def measure():
    """Measure what is not yet on disk; every number is saved at once."""
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found["environment"] = environment()
    found["cases"] = {
        name: {"motion": case.a.tolist(), "radius of F": case.of_f, "radius of k": case.of_k,
               "radius and scale radius that F needs": case.needed}
        for name, case in CASES.items()
    }  # fmt: skip
    for path, function, arguments in work():
        place = found
        for key in path[:-1]:
            place = place.setdefault(key, {})
        if path[-1] not in place:
            place[path[-1]] = function(*arguments)
            write_json(RESULTS, found)
            print(*path, flush=True)


def size_of(found, name, method):
    """Mean square of K F, from the largest samples: of the limit that the method has."""
    return found["error"][name][method][str(SIZES[-1])]["mean square of K F"]


def curve(found, name, method):
    """Relative error and predicted error for each N, with 95 % intervals over repetitions."""
    rows, size = found["error"][name][method], size_of(found, name, method)
    squares = [np.array(rows[str(n)]["squared difference"]) / size for n in SIZES]
    again = [resampled(square) ** 0.5 for square in squares]
    return {
        "error": np.array([square.mean() ** 0.5 for square in squares]),
        "low": np.array([np.quantile(a, 0.025) for a in again]),
        "high": np.array([np.quantile(a, 0.975) for a in again]),
        "predicted": np.array([(rows[str(n)]["predicted variance"] / size) ** 0.5 for n in SIZES]),
        "slopes": slope(np.log(np.stack(again))),
    }


def resampled(values, count=1000):
    """Means of bootstrap samples, shape (count,)."""
    index = np.random.default_rng(0).integers(0, len(values), (count, len(values)))
    return values[index].mean(1)


def slope(log_error):
    """Least-squares slope of log error against log N, by column."""
    x = np.log(np.array(SIZES))
    x = x - x.mean()
    return (x[:, None] * log_error).sum(0) / (x**2).sum()


def percent(share):
    """Two significant digits, as a percentage."""
    return f"{float(f'{100 * share:.2g}'):g} %"


def tables(found):
    """Markdown."""
    lines = ["| group | sampler | " + " | ".join(f"N = {n:,}" for n in COLUMNS)
             + f" | predicted, {SIZES[-1]:,} | slope |"]  # fmt: skip
    lines.append("|---" * (len(COLUMNS) + 4) + "|")
    for name in CASES:
        for method in METHODS:
            of = curve(found, name, method)
            cells = [percent(of["error"][SIZES.index(n)]) for n in COLUMNS]
            known = method not in ("quasi", "stratified")
            cells.append(percent(of["predicted"][-1]) if known else "–")
            low, high = np.quantile(of["slopes"], [0.025, 0.975])
            cells.append(f"{of['slopes'].mean():.2f} [{low:.2f}, {high:.2f}]")
            lines.append(f"| {name} | {method} | " + " | ".join(cells) + " |")
    lines += ["", "| group | sampler | " + " | ".join(f"N = {n}" for n in SMALL) + " |"]
    lines.append("|---" * (len(SMALL) + 2) + "|")
    for name in CASES:
        for method in METHODS[1:-1]:
            cells = []
            for n in SMALL:
                row = found["reduction"][name][str(n)]
                ratio = resampled(np.array(row["independent"])) / resampled(np.array(row[method]))
                low, high = np.quantile(ratio, [0.025, 0.975])
                mean = np.mean(row["independent"]) / np.mean(row[method])
                cells.append(f"{mean:.2f} [{low:.2f}, {high:.2f}]")
            lines.append(f"| {name} | {method} | " + " | ".join(cells) + " |")
    lines += ["", "| group | N | " + " | ".join(f"{r} ×" for r in RADII) + " |"]
    lines.append("|---" * (len(RADII) + 2) + "|")
    for name in CASES:
        for n in ("100", "10000"):
            cells = [percent(e) for e in radius_curve(found, name, n)]
            lines.append(f"| {name} | {int(n):,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def radius_curve(found, name, n):
    """Relative error for each radius; K F is what is left of it inside the region."""
    rows, most = found["radius"][name][n], found["radius"][name]["10000"]
    squares = [np.mean(rows[str(r)]["squared difference"]) for r in RADII]
    return np.sqrt(squares) / [most[str(r)]["mean square of K F"] ** 0.5 for r in RADII]


def pictures(found):
    """Error against N, and against the radius."""
    sizes, panels = np.array(SIZES, dtype=np.float64), {}
    for name in CASES:
        panels[name] = {}
        for method in METHODS:
            of = curve(found, name, method)
            panels[name][method] = Line(sizes, of["error"], of["low"], of["high"])
        of = curve(found, name, "independent")
        panels[name]["independent, predicted"] = Line(sizes, of["predicted"], dashed=True)
    labels = ["relative equivariance error"] + [""] * (len(CASES) - 1)
    error = plot(panels, xlabel="samples N", ylabels=labels, log_x=True, log_y=True)
    write_atomically(PICTURE, error.encode())
    cuts = {
        name: {f"N = {int(n):,}": Line(np.array(RADII), radius_curve(found, name, n))
               for n in ("100", "10000")}
        for name in CASES
    }  # fmt: skip
    label = "radius / radius that F needs"
    radius = plot(cuts, xlabel=label, ylabels=labels, log_y=True)
    write_atomically(PICTURE.with_name("lie_sampling_radius.svg"), radius.encode())


def main():
    """Measure, or tabulate what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.table:
        measure()
    found = json.loads(RESULTS.read_text())
    pictures(found)
    print(tables(found))


if __name__ == "__main__":
    main()
