"""The processes that training runs in: how they start, and how they end."""

from __future__ import annotations

import atexit
import gc
import os

import torch.distributed as dist
from lightning_fabric import Fabric

from equivariant.errors import ConventionError
from equivariant.processes import has_process_group
from equivariant.training.config import FitConfig


def launch(config: FitConfig) -> Fabric:
    """Start the processes that training runs in; under torchrun, join those it started.

    With several devices the calling script is started again for each of them, so call it before
    anything that only one process should do. Under torchrun all the processes are one run,
    whether ``devices`` says their number or was left at 1.

    Args:
        config: Devices and precision.

    Raises:
        ConventionError: torchrun started another number of processes than ``devices``, or one
            that does not divide the batch.
    """
    world, here = _torchrun_processes(config)
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=here,
        num_nodes=max(1, world // here),
        # A method may leave parts of a model unused: a supervised one its projectors.
        strategy="ddp_find_unused_parameters_true" if world > 1 else "auto",
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
    )
    fabric.launch()
    if fabric.world_size > 1:
        atexit.register(leave)
    return fabric


def _torchrun_processes(config: FitConfig) -> tuple[int, int]:
    """Processes of the run, and those of them on this machine."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        return config.devices, config.devices
    world, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if config.devices not in (1, world, here) or config.batch_size % world:
        raise ConventionError(
            expected=f"devices and a batch_size for the {world} processes that torchrun started",
            got=f"devices={config.devices}, batch_size={config.batch_size}",
            argument="config",
            advice=f"Leave devices out, and take a batch_size that is a multiple of {world}.",
        )
    return world, here


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
    if has_process_group():
        dist.destroy_process_group()
