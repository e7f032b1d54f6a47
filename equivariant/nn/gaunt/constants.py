"""Constants that are built in double precision and served in the precision of the data."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.nn.tracing import as_seen, records_operations


class Constants:
    """Tensors in float64 that a module reads in whatever dtype and on whatever device it works.

    Buffers would be rounded when a module moves to float32 and stay rounded when it moves back.
    These are kept in float64 and rounded afresh, once per dtype and device. They are no part
    of the state of a module.

    Args:
        tensors: Named tensors, float64, on the processor.

    Example:
        >>> constants = Constants(third=torch.tensor(1 / 3, dtype=torch.float64))
        >>> constants.at(torch.float32, torch.device("cpu"))["third"].dtype
        torch.float32
    """

    def __init__(self, **tensors: Tensor) -> None:
        self._tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        self._served: dict[tuple[torch.dtype, torch.device], dict[str, Tensor]] = {}

    def at(self, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
        """The tensors in one dtype on one device.

        Args:
            dtype: Floating point.
            device: Where they are needed.

        Returns:
            Tensors by name. They are shared: do not write into them. Where torch traces, they
            are made anew and not kept.
        """
        if records_operations():
            return {name: as_seen(t).to(device, dtype) for name, t in self._tensors.items()}
        key = (dtype, device)
        if key not in self._served:
            # torch.func would wrap them, and wrappers end with the transformation.
            with torch._C._DisableFuncTorch(), torch.inference_mode(False), torch.no_grad():
                moved = {name: tensor.to(device, dtype) for name, tensor in self._tensors.items()}
            self._served[key] = moved
        return self._served[key]

    def __getstate__(self) -> dict[str, object]:
        return {"_tensors": self._tensors, "_served": {}}
