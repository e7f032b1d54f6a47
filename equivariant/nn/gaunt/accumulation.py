"""Where sums are accumulated: never in half precision, whatever the context."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context in which matrix products keep the dtype of their operands.

    Args:
        device: Of the operands.

    Returns:
        A context; it costs nothing where autocast is off.

    Example:
        >>> with without_autocast(torch.device("cpu")):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.float32
    """
    if not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device_type=device.type, enabled=False)


def working_dtype(*dtypes: torch.dtype) -> tuple[torch.dtype, torch.dtype]:
    """The dtype of a result of operands of these dtypes, and the one to compute it in.

    Args:
        dtypes: Floating point, at least one.

    Returns:
        The widest of them, and the same, or float32 where that is half precision.

    Example:
        >>> working_dtype(torch.float16, torch.bfloat16)
        (torch.float32, torch.float32)
        >>> working_dtype(torch.bfloat16)
        (torch.bfloat16, torch.float32)
    """
    widest = dtypes[0]
    for dtype in dtypes[1:]:
        widest = torch.promote_types(widest, dtype)
    half = widest in (torch.float16, torch.bfloat16)
    return widest, torch.float32 if half else widest
