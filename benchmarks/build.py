"""Images per second and core of building a data set, files included.

Every case is a whole call of ``build`` with one worker, after a call that compiled and filled
caches: meshes are read, views rendered, JPEG and latent files, lists, contact sheet and manifest
written. ``img/s`` counts wall time, ``img/s/core`` CPU time of the process, which a busy machine
disturbs less.

    python benchmarks/build.py --meshes "$EQUIVARIANT_DATA/lowpoly_cc0"
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from datasets3d import BuildConfig, ProceduralMeshes, build  # noqa: E402
from datasets3d.meshes import MeshEntry, MeshFolder, MeshSource  # noqa: E402
from renderers import Mesh  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "build.json"


class Some(MeshSource):
    """Some objects of another source, evenly spread over its list."""

    def __init__(self, source: MeshSource, count: int) -> None:
        entries = source.entries()
        step = max(1, len(entries) // count)
        self._source, self._entries = source, entries[::step][:count]

    def entries(self) -> list[MeshEntry]:
        return list(self._entries)

    def load(self, entry: MeshEntry) -> Mesh:
        return self._source.load(entry)

    def describe(self) -> dict[str, str | int | float | bool]:
        return {**self._source.describe(), "of_these": len(self._entries)}


def measure(source: MeshSource, config: BuildConfig) -> dict[str, float]:
    """Build once and time it; what was written is removed."""
    folder = Path(tempfile.mkdtemp())
    try:
        cpu = time.process_time()
        report = build(source, folder / "out", config=config, workers=1, progress=False)
        cpu = time.process_time() - cpu
        written = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    finally:
        shutil.rmtree(folder)
    return {
        "objects": report.objects,
        "images": report.images,
        "failed": len(report.failed),
        "images_per_s": round(report.images / report.seconds, 1),
        "images_per_cpu_s": round(report.images / cpu, 1),
        "kilobytes_per_image": round(written / report.images / 1e3, 2),
    }


def main() -> None:
    """Measure, print a table, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--meshes", type=Path, help="a folder of meshes with +y up")
    parser.add_argument("--objects", type=int, default=40, help="objects per case")
    parser.add_argument("--views", type=int, default=50)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--json", type=Path, default=RESULTS, help="write the results here")
    options = parser.parse_args()
    sources: dict[str, MeshSource] = {"procedural": ProceduralMeshes(instances=options.objects)}
    if options.meshes is not None:
        sources[options.meshes.name] = MeshFolder(options.meshes)
    measure(Some(sources["procedural"], 1), BuildConfig(views=1, size_px=8))
    results = []
    print(f"{'meshes':<16}{'px':>5}{'images':>8}{'img/s':>8}{'img/s/core':>12}{'kB/img':>8}")
    for name, source in sources.items():
        some = Some(source, options.objects)
        for size in options.sizes:
            row = measure(some, BuildConfig(views=options.views, size_px=size))
            print(
                f"{name:<16}{size:>5}{row['images']:>8}{row['images_per_s']:>8.0f}"
                f"{row['images_per_cpu_s']:>12.0f}{row['kilobytes_per_image']:>8.2f}"
            )
            results.append({"meshes": name, "size_px": size, "views": options.views, **row})
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
