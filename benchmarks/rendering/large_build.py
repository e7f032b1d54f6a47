"""A set of 100,000 pictures from meshes to files, by one worker: time, peak memory, size on disk.

    python -m benchmarks.rendering.large_build --meshes "$EQUIVARIANT_DATA/lowpoly_cc0" --out FOLDER
    python -m benchmarks.rendering.large_build --show    # of the results on disk

A call of ``build`` with one worker in this process, after a tiny set that compiled and filled
caches. Called again with the same folder it goes on where it was stopped; times are those of the
last call, with the pictures that it rendered.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from datasets3d import BuildConfig, build, verify  # noqa: E402
from datasets3d.meshes import MeshFolder  # noqa: E402

RESULTS = Path(__file__).parents[1] / "results" / "rendering_large_build.json"
IMAGES = 100_000


def peak_megabytes() -> float:
    """The largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measure(meshes: Path, out: Path, size_px: int) -> dict[str, float]:
    """Build, and check the files against their checksums."""
    source = MeshFolder(meshes)
    views = -(-IMAGES // len(source.entries()))
    with tempfile.TemporaryDirectory() as folder:
        build(source, Path(folder) / "set", config=BuildConfig(views=1, size_px=8), workers=1,
              progress=False)  # fmt: skip
    before, cpu = peak_megabytes(), time.process_time()
    config = BuildConfig(views=views, size_px=size_px)
    report = build(source, out, config=config, workers=1, progress=False)
    cpu = time.process_time() - cpu
    peak = peak_megabytes()
    found = [path.stat() for path in out.rglob("*") if path.is_file()]
    problems = verify(out)
    return {
        "size_px": size_px,
        "objects": report.objects,
        "views": views,
        "images": report.images,
        "rendered_by_this_call": report.rendered,
        "failed": len(report.failed),
        "wall_s": round(report.seconds, 1),
        "cpu_s": round(cpu, 1),
        "images_per_s": round(report.rendered / report.seconds, 1),
        "images_per_cpu_s": round(report.rendered / cpu, 1),
        "peak_mb": round(peak, 1),
        "peak_mb_of_one_view_each": round(before, 1),
        "gigabytes": round(sum(one.st_size for one in found) / 1e9, 3),
        "gigabytes_on_disk": round(sum(one.st_blocks for one in found) * 512 / 1e9, 3),
        "problems_found_by_verify": len(problems),
    }


def main() -> None:
    """Measure, write, show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--meshes", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    if not options.show:
        found = measure(options.meshes, options.out, options.size)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
