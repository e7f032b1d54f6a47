"""Whether a wheel and a source archive hold what they should: check_wheel.py FOLDER."""

import sys
import tarfile
import zipfile
from pathlib import Path

NEEDED = (
    "equivariant/py.typed", "datasets3d/py.typed", "renderers/py.typed",
    "equivariant/report/page.html", "renderers/shaders/mesh.frag", "renderers/shaders/mesh.vert",
    "equivariant/nn/gaunt/compiled/product/sparse.py", "equivariant/commands/main.py",
)  # fmt: skip
FORBIDDEN = ("tests/", "benchmarks/", "examples/", ".ci/", "docs/")


def main(folder: Path) -> int:
    (wheel,), (archive,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    wrong = [f"the wheel lacks {name}" for name in NEEDED if name not in names]
    wrong += [f"the wheel holds {name}" for name in names if name.startswith(FORBIDDEN)]
    wrong += [
        f"the wheel holds {name}" for name in names if name.endswith((".nbi", ".nbc", ".pyc"))
    ]
    with tarfile.open(archive) as file:
        sources = {name.partition("/")[2] for name in file.getnames()}
    needed = (
        *NEEDED,
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "constraints.txt",
        "tests/conftest.py",
    )
    wrong += [f"the source archive lacks {name}" for name in needed if name not in sources]
    print("\n".join(wrong) or f"{wheel.name}: {len(names)} files, {archive.name}: {len(sources)}")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
