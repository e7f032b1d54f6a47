"""Presets that say O((N + M) D) hold no N x M matrix: peaks of processes of their own."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys, warnings
import torch
from benchmarks.turns import forget_peak, peak_bytes
from equivariant.losses import Side, preset

warnings.simplefilter("ignore")
torch.set_num_threads(1)
name, n = sys.argv[1], int(sys.argv[2])
loss = preset(name, **json.loads(sys.argv[3])).build()

def peak(n):
    sides = [Side.of(torch.randn(n, 16, requires_grad=True), label=torch.arange(n) % 10,
                     features=torch.randn(n, 8), strength=torch.rand(n), target=torch.arange(n) % 2,
                     salient=torch.randn(n, 4)) for _ in range(2)]
    forget_peak()
    before = peak_bytes()
    loss(*sides).total.backward()
    return peak_bytes() - before

peak(64)
print(peak(n))
"""

N = 12_000
TILED = {
    "infonce": {}, "nt_xent": {}, "dcl": {}, "dclw": {}, "clip": {}, "siglip": {}, "cwcl": {},
    "supcon_out": {}, "supcon_in": {}, "supcon_each": {}, "triplet": {}, "circle": {},
    "margin": {}, "cacr": {}, "csgcl": {}, "align_uniform": {}, "contrastive_gap": {},
    "sepclr": {}, "hard_contrastive": {}, "simple_contrastive": {}, "byol": {},
}  # fmt: skip


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("name", TILED)
def test_no_matrix_of_all_pairs_is_held(name):
    sides = 4 if name == "byol" else 2
    script = SCRIPT.replace("range(2)]", f"range({sides})]")
    command = [sys.executable, "-c", script, name, str(N), json.dumps(TILED[name])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 4 * N * N, "less than one N x N matrix of float32"
