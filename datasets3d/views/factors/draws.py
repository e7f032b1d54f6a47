"""Random numbers that depend on what they are for alone."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(dataset_seed: int, object_key: str, *counters: int) -> np.random.Generator:
    """A random generator that depends on its arguments alone, the same on every machine.

    Args:
        dataset_seed: Of the data set.
        object_key: ``<class>/<object id>``, or what the numbers are for and the object.
        *counters: Of views, of sequences.
    """
    text = f"{dataset_seed}|{object_key}|{'|'.join(map(str, counters))}".encode()
    key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))
