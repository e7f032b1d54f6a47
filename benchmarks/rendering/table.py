"""Pictures per second and core of all engines, and Embree's stages, measured in one run.

    python -m benchmarks.rendering.table --pyrender-python PATH --blender-python PATH
    python -m benchmarks.rendering.table --show    # of the results on disk

All engines render the same rotations, lights and meshes in the default scene, each in a process of
its own; rounds go through the engines in turn, so that a busy machine disturbs all of them alike.
Times are processor seconds of a picture, all threads of its process together, medians over views
and rounds. An engine whose interpreter is not named is left out.

"embree 3x3" is the default. pyrender has four samples per pixel on EGL and one on OSMesa, and a
shadow map of 2048². Blender has the settings of 3DIEBench's generator: at most 100 paths per
pixel, adaptively, then denoised.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from benchmarks.rendering.engines import ENGINES, Process  # noqa: E402
from benchmarks.rendering.objects import two_tori, views, write_mesh  # noqa: E402
from benchmarks.rendering.stages import commit_seconds, stage_rows  # noqa: E402
from datasets3d.meshes import MeshFolder  # noqa: E402
from renderers import Mesh  # noqa: E402

RESULTS = Path(__file__).parents[1] / "results" / "rendering.json"
SIZES = (64, 128, 256)
IMAGES = 2_623_600  # of 3DIEBench
SLOW = {"Blender Cycles": 2}  # views per round where a picture takes seconds


def meshes() -> dict[str, Mesh]:
    """Two tori; with EQUIVARIANT_DATA a scan and an artist's mesh."""
    found = {"tori": two_tori()}
    data = os.environ.get("EQUIVARIANT_DATA")
    for name, folder in (("scan", "ycb"), ("low-poly", "lowpoly_cc0")):
        if data and (Path(data) / folder).is_dir():
            source = MeshFolder(Path(data) / folder)
            entries = source.entries()
            found[name] = source.load(entries[len(entries) // 2])
    return found


def engine_rows(
    folder: Path, names: list[str], pythons: dict[str, str], *, rounds: int, count: int
) -> list[dict[str, Any]]:
    """Processor time per picture of every engine, mesh and size."""
    running = [Process(one, pythons[one.name], folder) for one in ENGINES if one.name in pythons]
    spent: dict[tuple[str, str, int], list[float]] = {}
    for round_number in range(rounds + 1):  # the first compiles and is not counted
        for mesh in names:
            for size_px in SIZES:
                for process in running:
                    label = process.engine.label
                    if label in SLOW and mesh != "tori":
                        continue
                    number = 1 if round_number == 0 else min(count, SLOW.get(label, count))
                    seen = process.ask(mesh, size_px, range(number))
                    if round_number > 0:
                        spent.setdefault((label, mesh, size_px), []).extend(seen)
        print(f"round {round_number} of {rounds}", file=sys.stderr, flush=True)
    for process in running:
        process.end()
    return [
        {
            "engine": label,
            "mesh": mesh,
            "size_px": size_px,
            "cpu_ms": 1e3 * (middle := statistics.median(values)),
            "quartiles_ms": [1e3 * q for q in statistics.quantiles(values, n=4)[::2]],
            "pictures": len(values),
            "per_second_and_core": 1.0 / middle,
            "hours_of_3diebench": IMAGES * middle / 3600.0,
        }
        for (label, mesh, size_px), values in spent.items()
    ]


def embree_rows(found: dict[str, Mesh], *, rounds: int, count: int) -> list[dict[str, Any]]:
    """Stages and bound of Embree for every mesh, size and number of samples."""
    rows = []
    with tempfile.TemporaryDirectory(dir=RESULTS.parent) as folder:  # a disk, not memory
        for name, mesh in found.items():
            building = 1e3 * commit_seconds(mesh, rounds)
            for size_px in SIZES:
                for side in (1, 2, 3):
                    row = stage_rows(
                        views(mesh, count), size_px, side, rounds=rounds, folder=Path(folder)
                    )
                    faces = len(mesh.faces)
                    rows.append({"mesh": name, "faces": faces, "hierarchy_ms": building, **row})
            print(f"stages of {name}", file=sys.stderr, flush=True)
    return rows


def show(results: dict[str, Any]) -> None:
    """Print both tables in Markdown."""
    rates = {(r["engine"], r["mesh"], r["size_px"]): r for r in results["engines"]}
    print("| renderer | 64 px | 128 px | 256 px | hours for 2.6 million of 256 px |")
    print("|---|---|---|---|---|")
    for engine in dict.fromkeys(r["engine"] for r in results["engines"]):
        cells = [rates[engine, "tori", size]["per_second_and_core"] for size in SIZES]
        hours = rates[engine, "tori", 256]["hours_of_3diebench"]
        texts = [f"{value:.0f}" if value >= 10 else f"{value:.2g}" for value in cells]
        print(f"| {engine} | {' | '.join(texts)} | {hours:,.0f} |")
    print(
        "\n| mesh | px | samples | picture ms | casts ms | share | inside Embree | single | files |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for r in results["embree"]:
        print(
            f"| {r['mesh']} | {r['size_px']} | {r['samples_per_side']}² | {r['picture_ms']:.2f} "
            f"| {r['casts_ms']:.2f} | {r['casts_share']:.0%} | {r['inside_embree_share']:.0%} "
            f"| {r['single_ray_casts_ms']:.2f} | {r['jpeg_and_file_share']:.1%} |"
        )
    stages = list(dict.fromkeys(name for r in results["embree"] for name in r["stages_ms"]))
    print(
        "\n| mesh | px | samples | "
        + " | ".join(stages)
        + " |\n"
        + "|---" * (3 + len(stages))
        + "|"
    )
    for r in results["embree"]:
        times = " | ".join(f"{r['stages_ms'].get(name, 0.0):.2f}" for name in stages)
        print(f"| {r['mesh']} | {r['size_px']} | {r['samples_per_side']}² | {times} |")


def main() -> None:
    """Measure, write, show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pyrender-python", help="an interpreter that has pyrender")
    parser.add_argument("--blender-python", help="an interpreter that has bpy")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    if not options.show:
        pythons = {
            "embree": sys.executable,
            "pyrender": options.pyrender_python,
            "blender": options.blender_python,
        }
        found = meshes()
        with tempfile.TemporaryDirectory() as folder:
            for name, mesh in found.items():
                write_mesh(mesh, Path(folder) / f"{name}.npz")
            engines = engine_rows(
                Path(folder), list(found), {k: v for k, v in pythons.items() if v},
                rounds=options.rounds, count=options.views,
            )  # fmt: skip
        results = {
            "processor": platform.processor() or platform.machine(),
            "rounds": options.rounds,
            "views": options.views,
            "engines": engines,
            "embree": embree_rows(found, rounds=options.rounds, count=options.views),
        }
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    show(json.loads(RESULTS.read_text()))


if __name__ == "__main__":
    main()
