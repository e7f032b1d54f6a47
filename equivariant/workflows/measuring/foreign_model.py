"""Models of others: loaded by name, fed from files or with random inputs."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from equivariant.errors import ConventionError, DataFormatError

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}


def load_model(name: str, *, dtype: torch.dtype, device: str) -> Callable[..., Any]:
    """A model from ``package.module:factory`` or ``path/to/file.py:factory``, in evaluation mode.

    Args:
        name: The factory is called without arguments and returns a module or a function; a
            module that stands there already is taken as it is.
        dtype: Of a module's floating-point weights.
        device: Where to.

    Raises:
        DataFormatError: There is no such module, file or factory.
        ConventionError: What the factory returns cannot be called.

    Example:
        >>> load_model("torch.nn:Identity", dtype=torch.float32, device="cpu")
        Identity()
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or not place:
        raise DataFormatError(
            expected="package.module:factory or file.py:factory", got=repr(name),
            argument="model", advice="For example models/mine.py:build.",
        )  # fmt: skip
    try:
        factory = getattr(_import(place), attribute)
    except (ImportError, FileNotFoundError, AttributeError) as error:
        raise DataFormatError(
            expected=f"something called {attribute!r} in {place!r}",
            got=f"{type(error).__name__}: {error}", argument="model",
            advice="Run from the folder that the import starts in.",
        ) from error  # fmt: skip
    model = factory if isinstance(factory, nn.Module) else _called(factory, name)
    if isinstance(model, nn.Module):
        return model.to(device=device, dtype=dtype).eval()
    if not callable(model):
        raise ConventionError(
            expected="a factory that returns a module or a function",
            got=f"one that returns {type(model).__name__}", argument="model",
            advice="Return the model from a function without arguments.",
        )  # fmt: skip
    return model  # type: ignore[no-any-return]


def load_inputs(
    path: Path, *, items: int | None, dtype: torch.dtype, device: str
) -> dict[str, Tensor]:
    """Arrays of a file by name, the first ``items`` rows of each, floating ones in ``dtype``.

    Args:
        path: .npy, .npz or .safetensors; nothing is unpickled.
        items: At most so many; None for all, where rows are not items (flat graphs).
        dtype: Of floating-point arrays.
        device: Where to.

    Raises:
        DataFormatError: The file cannot be read, or holds no array.
    """
    try:
        if path.suffix == ".npy":
            arrays = {"": torch.from_numpy(np.load(path, allow_pickle=False))}
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: torch.from_numpy(file[name]) for name in file.files}
        elif path.suffix == ".safetensors":
            arrays = load_file(path)
        else:
            raise ValueError(f"the ending {path.suffix!r}")
    except (OSError, ValueError, TypeError) as error:
        raise DataFormatError(
            expected="arrays in a .npy, .npz or .safetensors file",
            got=f"{type(error).__name__}: {error}", argument=str(path),
            advice="Save them with numpy.savez or safetensors.torch.save_file.",
        ) from error  # fmt: skip
    if not arrays:
        raise DataFormatError(
            expected="at least one array", got="none", argument=str(path),
            advice="Save the inputs under their names.",
        )  # fmt: skip
    return {
        name: array[:items].to(device=device, dtype=dtype if array.is_floating_point() else None)
        for name, array in arrays.items()
    }


def _called(factory: Any, name: str) -> Any:
    """What a factory returns when it is called without arguments."""
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise ConventionError(
            expected="a factory that needs no arguments", got=f"{name}: {error}",
            argument="model", advice="Write a function that builds the model with its arguments.",
        ) from error  # fmt: skip
    return factory()


def _import(place: str) -> Any:
    """A module by its dotted name, or from a file."""
    if not place.endswith(".py"):
        folder = str(Path.cwd())
        if folder not in sys.path:
            sys.path.insert(0, folder)
        return importlib.import_module(place)
    path = Path(place)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
