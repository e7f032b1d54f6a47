"""Data sets with one mutated file, through everything that reads them.

    python tests/datasets3d/builds/mutated_files.py --count 10000

prints one line of JSON: how often which file was mutated, and what went wrong. Wrong is: an error
that is not one of the package's own; a mutation that ``verify`` does not name; more than 5 seconds
or 400 MB for one case.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from datasets3d import (
    ArticulatedMeshes,
    ArticulatedViews,
    BuildConfig,
    Limits,
    ProceduralMeshes,
    ThreeDIEBench,
    build,
    verify,
)
from datasets3d.views.object_notes import Note, read_notes, write_note, write_notes
from datasets3d.views.plan import differences
from datasets3d.views.schema import Manifest
from equivariant.errors import EquivariantError

CONFIG = BuildConfig(views=2, size_px=16, samples_per_side=1)
SECONDS, MEGABYTES = 5.0, 400
HOSTILE = (
    b"", b"{", b"[" * 200_000, b"\xff\xd8\xff", b"\x93NUMPY", b"\x89PNG\r\n\x1a\n", b"null", b"{}",
    b"\x00" * 64, b'{"format_version": 1}', b"1e999", b'"\\ud800"',
)  # fmt: skip


def make_set(root: Path) -> Path:
    """A finished set with files of every kind, and notes as an unfinished one has them."""
    build(ProceduralMeshes(instances=2, classes=["chair", "truck"], val_fraction=0.5),
          root / "views", config=CONFIG, workers=1, progress=False)  # fmt: skip
    build(ArticulatedMeshes(instances=2, classes=["laptop"], val_fraction=0.5),
          root / "joints", config=CONFIG, workers=1, progress=False)  # fmt: skip
    write_note(root / "views", "chair/chair-000000", Note("0" * 32, "1" * 64, 5, 1))
    write_notes(root / "views", {"truck/truck-000000": Note("0" * 32)})
    return root


def read_everything(data: Path) -> None:
    """Call every reader of a set; errors of the package's own are answers."""
    for reader in (_read_split, _read_all, _read_joints, Manifest.read, _read_plan, read_notes):
        try:
            reader(data)
        except EquivariantError:
            continue


def _read_split(root: Path) -> None:
    for split in ("train", "val"):
        data = ThreeDIEBench(root, split, cache=False)
        assert data.latents.shape[2] == 7 and data.rotations.shape[2:] == (3, 3)
        images = data.load_images(threads=1)
        assert images.shape[:2] == data.latents.shape[:2]
        assert len(data.fixed_pairs()) == 4 * len(data)


def _read_all(root: Path) -> None:
    data = ThreeDIEBench(root, "all", cache=False)
    data.fingerprint()


def _read_joints(root: Path) -> None:
    if root.name != "joints":
        return
    views = ArticulatedViews(root, "val")
    assert len(views.mechanisms) == len(views.states) == len(views)
    for view in range(2):
        views.mask(0, view)


def _read_plan(root: Path) -> None:
    differences(root, {})


def mutated(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Another content: bits, bytes, pieces, lengths, numbers in text, or something hostile."""
    kind, size = draw.randrange(10), len(data)
    place = draw.randrange(size) if size else 0
    block = bytearray(data)
    if kind == 0:
        block[place] ^= 1 << draw.randrange(8)
    elif kind == 1:
        return data[:place]
    elif kind == 2:
        return data + draw.randbytes(draw.randrange(1, 64))
    elif kind == 3:
        end = min(size, place + draw.randrange(1, 9))
        block[place:end] = bytes([draw.choice((0, 255, 127, 128))]) * (end - place)
    elif kind == 4:
        del block[place : place + draw.randrange(1, 32)]
    elif kind == 5:
        block[place:place] = block[place : place + draw.randrange(1, 200)] * draw.randrange(1, 9)
    elif kind == 6:
        return draw.choice(others)
    elif kind == 7:
        return draw.choice(HOSTILE)
    elif kind == 8 and (start := max(data.find(b"\xff\xc0") + 5, data.find(b"IHDR") + 4)) > 4:
        block[start : start + 4] = b"\xff\xf0\x7f\xff"  # sides of a picture, or the width alone
    else:
        digits = [k for k, byte in enumerate(data) if chr(byte).isdigit()]
        if digits:
            k = draw.choice(digits)
            block[k : k + 1] = draw.choice((b"9" * 9, b"9" * 25, b"-1", b"1e9", b"NaN", b"0"))
    return bytes(block)


def one_case(root: Path, files: dict[Path, bytes], draw: random.Random) -> tuple[str, str]:
    """Mutate one file, read, restore.

    Returns:
        The kind of the file, and what went wrong; empty where nothing did.
    """
    path = draw.choice(list(files))
    kind = "".join("#" if c.isdigit() else c for c in path.name)
    content = mutated(files[path], list(files.values()), draw)
    if content == files[path]:
        return kind, ""
    path.write_bytes(content)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
    try:
        with Limits(bytes=2 << 30).of_memory():
            read_everything(root / path.relative_to(root).parts[0])
            wrong = _not_named(path, root)
    except Exception:
        wrong = traceback.format_exc(limit=-3)
    finally:
        path.write_bytes(files[path])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before.ru_maxrss) / 1024
    if time.process_time() - started > SECONDS or grown > MEGABYTES:
        wrong += f"{time.process_time() - started:.1f} s, {grown:.0f} MB more"
    return kind, wrong


def _not_named(path: Path, root: Path) -> str:
    if ".notes" in path.parts:
        return ""  # not of a finished set
    data = root / path.relative_to(root).parts[0]
    try:
        problems = verify(data)
    except EquivariantError:
        return ""
    name = path.relative_to(data)
    known = path.name if len(name.parts) == 1 else f"{name.parts[0]}/{name.parts[1]}"
    if path.name == "manifest.json":  # the same content in other words
        return "" if Manifest.read(data).sum() == Manifest.read(data).checksum else "not noticed"
    return "" if any(problem.startswith(known) for problem in problems) else "not noticed"


def fuzz(folder: Path, *, count: int, seed: int = 0) -> dict[str, object]:
    """Try so many mutations; each depends on the seed and its number alone."""
    root = make_set(folder)
    files = {p: p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
    kinds, wrong = Counter[str](), []
    for number in range(count):
        kind, text = one_case(root, files, random.Random(f"{seed} {number}"))
        kinds[kind] += 1
        if text:
            wrong.append({"number": number, "file": kind, "text": text})
    return {"count": count, "seed": seed, "files": dict(sorted(kinds.items())), "wrong": wrong}


def main() -> None:
    """Run it, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        found = fuzz(folder, count=options.count, seed=options.seed)
    finally:
        shutil.rmtree(folder)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
