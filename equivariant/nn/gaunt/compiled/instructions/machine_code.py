"""Machine code written for one list of coefficients, without loops or tables.

Text in LLVM's intermediate language is compiled as it stands for the processor at hand, by the
compiler that Numba brings along. Code is made once per process and kept to its end.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

import llvmlite.binding as llvm

_lock = Lock()
_engines: list[Any] = []


class Processor(NamedTuple):
    """What code is written for: bytes of a vector register, and how many of them there are."""

    width: int
    registers: int


@lru_cache(maxsize=1)
def processor() -> Processor:
    """The processor at hand.

    Returns:
        Its vector registers; those of 16 bytes that all processors have where nothing is known.
    """
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return Processor(64, 32)
    if features.get("avx2") and features.get("fma"):
        return Processor(32, 16)
    plenty = llvm.get_process_triple().startswith(("aarch64", "arm64"))
    return Processor(16, 32 if plenty else 16)


def compile_text(text: str, name: str) -> int:
    """Compile a function.

    Args:
        text: A module in LLVM's intermediate language.
        name: Of a function in it.

    Returns:
        Its address, valid until the process ends.
    """
    with _lock:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        module = llvm.parse_assembly(text)
        module.verify()
        machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=3,
            reloc="pic",
            codemodel="jitdefault",
            jit=True,
        )
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
        _engines.append(engine)
        address: int = engine.get_function_address(name)
    return address
