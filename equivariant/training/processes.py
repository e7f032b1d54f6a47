"""The processes that training runs in: how they start, and how they end."""

from __future__ import annotations

import atexit
import gc

import torch.distributed as dist
from lightning_fabric import Fabric

from equivariant.training.config import FitConfig


def launch(config: FitConfig) -> Fabric:
    """Start the processes that training runs in; under torchrun, join those it started.

    With several devices the calling script is started again for each of them, so call it before
    anything that only one process should do.

    Args:
        config: Devices and precision.
    """
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=config.devices,
        # A method may leave parts of a model unused: a supervised one its projectors.
        strategy="ddp_find_unused_parameters_true" if config.devices > 1 else "auto",
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
    )
    fabric.launch()
    if fabric.world_size > 1:
        atexit.register(leave)
    return fabric


def leave() -> None:
    """End communication between processes while the interpreter still runs.

    The threads of gloo hold tensors for a moment after a step is done; one that is released
    while Python shuts down aborts the process, and an experiment that went well ends with an
    error. Destroying the process group joins the threads, but only if no wrapped model holds
    the group any more, so models in reference cycles are collected first: drop your own
    references before. Without a process group nothing happens. What :func:`launch` starts
    leaves by itself.
    """
    gc.collect()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
