"""Files that a mesh file names and that are not read: missing ones, and ones elsewhere."""

from __future__ import annotations

from collections.abc import Callable

Read = Callable[[str], bytes]
OUTSIDE = "points outside of the mesh's folder and is not read"


class OutsideError(FileNotFoundError):
    """A name that leads out of the mesh's folder and the one above it.

    Args:
        name: As the mesh file has it.

    Example:
        >>> str(OutsideError("../../secret.png"))
        "'../../secret.png' points outside of the mesh's folder and is not read"
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} {OUTSIDE}")


def is_there(name: str, read: Read) -> bool:
    """Whether there is a file of this name, in a place that is read."""
    try:
        read(name)
    except (OSError, ValueError):
        return False
    return True


def why_absent(name: str, read: Read) -> str:
    """What a note says of a file that is not there, behind its name.

    Args:
        name: As the mesh file has it.
        read: Gives the contents of a file; raises OSError where there is none.

    Example:
        >>> def read(name):
        ...     raise OutsideError(name)
        >>> why_absent("../../secret.png", read)
        "points outside of the mesh's folder and is not read"
    """
    try:
        read(name)
    except OutsideError:
        return OUTSIDE
    except (OSError, ValueError):
        pass
    return "was not found"
