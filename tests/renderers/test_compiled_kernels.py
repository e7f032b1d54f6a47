"""Machine code on disk is not used after a change in another file than the function's own."""

import shutil
import subprocess
import sys
from pathlib import Path

from renderers.rays import compiled

INNER = "from compiled import kernel\n@kernel\ndef inner(x):\n    return x + {}\n"
OUTER = (
    "from compiled import kernel\nfrom inner import inner\n"
    "@kernel\ndef outer(x):\n    return inner(x)\nprint(outer(1))\n"
)


def test_a_change_of_a_called_kernel_counts(tmp_path):
    shutil.copy(Path(compiled.__file__), tmp_path / "compiled.py")
    (tmp_path / "outer.py").write_text(OUTER)
    said = []
    for number in (1, 1, 7):
        (tmp_path / "inner.py").write_text(INNER.format(number))
        run = subprocess.run(
            [sys.executable, "-B", "outer.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(int(run.stdout))
    assert said == [2, 2, 8]
