"""What a second worker brings to a build, start-up included.

One and two workers build the same set in turn, each in a fresh process. ``wall`` is the time of
the whole call of ``build``. ``cpu`` is what it would be on two cores that nobody else uses: CPU
time of the calling process, and of its workers divided by their number; a busy machine disturbs it
little. Sets are removed when all are built: a file system such as ext4 passes over what was just
deleted whenever it makes a file, which took up to half a millisecond per file here, against ten
microseconds otherwise.

    python benchmarks/rendering_workers.py --images 8000 --size 128 --repeats 2
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from datasets3d import BuildConfig, ProceduralMeshes, build
from equivariant.runs import read_json, write_json

RESULTS = Path(__file__).parent / "results" / "rendering_workers.json"
VIEWS = 50
# Python compiles a hundred modules anew in every worker where it may not keep what it compiled
AS_INSTALLED = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def one(workers: int, images: int, size: int, folder: Path) -> dict[str, float]:
    """Build once, in this process, into a folder."""
    source = ProceduralMeshes(instances=max(1, images // (16 * VIEWS)))
    own = resource.getrusage(resource.RUSAGE_SELF)
    report = build(source, folder, config=BuildConfig(views=VIEWS, size_px=size),
                   workers=workers, progress=False)  # fmt: skip
    now, children = (resource.getrusage(which) for which in
                     (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))  # fmt: skip
    serial = now.ru_utime + now.ru_stime - own.ru_utime - own.ru_stime
    parallel = children.ru_utime + children.ru_stime
    cpu = serial + parallel / workers
    return {"workers": workers, "images": report.images, "wall_s": round(report.seconds, 2),
            "cpu_s": round(cpu, 2), "of_it_serial_s": round(serial, 2) if workers > 1 else 0.0,
            "load": round(os.getloadavg()[0], 1)}  # fmt: skip


def main() -> None:
    """Measure in turn, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help="where sets are built, and removed afterwards")
    parser.add_argument("--label", default="written to disk", help="name of this run in the file")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.images, options.size, options.into)))
        return
    rows, sets = [], Path(tempfile.mkdtemp(dir=options.into))
    for repeat in range(options.repeats):
        for workers in (1, 2):
            words = ["--one", str(workers), "--images", str(options.images), "--size",
                     str(options.size), "--into", str(sets / f"{repeat}_{workers}")]  # fmt: skip
            run = subprocess.run([sys.executable, __file__, *words], check=True, env=AS_INSTALLED,
                                 capture_output=True, text=True)  # fmt: skip
            rows.append(json.loads(run.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    shutil.rmtree(sets)
    found = {
        f"{kind}_speedup": round(
            statistics.median(row[kind] for row in rows if row["workers"] == 1)
            / statistics.median(row[kind] for row in rows if row["workers"] == 2), 3,
        )
        for kind in ("wall_s", "cpu_s")
    }  # fmt: skip
    print(found)
    stored = read_json(options.json) if options.json.exists() else {}
    stored[options.label] = {**found, "size_px": options.size, "rows": rows}
    write_json(options.json, stored)


if __name__ == "__main__":
    main()
