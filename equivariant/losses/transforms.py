"""Whether operations run as they are written, or are recorded, vectorized or differentiated."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad


def traced() -> bool:
    """Whether operations are recorded or transformed (torch.compile, torch.func) as they run.

    Values cannot decide anything then.
    """
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


def transformed(*tensors: Tensor) -> bool:
    """Whether gradients cannot be computed on the spot: in ``torch.func`` and ``torch.compile``,
    and where tensors carry forward-mode derivatives."""
    if traced():
        return True
    if forward_ad._current_level < 0:
        return False
    return any(forward_ad.unpack_dual(x).tangent is not None for x in tensors)
