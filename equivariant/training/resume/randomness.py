"""Random numbers of a step that depend on the seed and the number of the step alone."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def step_seed(seed: int, step: int, process: int = 0) -> int:
    """A seed of 32 bits for one step of one process.

    Args:
        seed: Of the run.
        step: From 1.
        process: From 0; -1 for what all processes draw alike.
    """
    words = f"{seed} {step} {process}".encode()
    return int.from_bytes(hashlib.blake2b(words, digest_size=4).digest(), "little")


def step_generator(seed: int, step: int) -> torch.Generator:
    """The source of what an objective draws in a step: the same on all processes, on the CPU."""
    return torch.Generator().manual_seed(step_seed(seed, step, -1))


def seed_step(seed: int, step: int, process: int) -> None:
    """Set the global generators of PyTorch, NumPy and Python, which dropout draws from."""
    number = step_seed(seed, step, process)
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Global generators are afterwards what they were before.

    Args:
        device: Where training runs, besides the CPU.
    """
    numbers, words = np.random.get_state(), random.getstate()
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        np.random.set_state(numbers)
        random.setstate(words)
