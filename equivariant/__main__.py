"""``python -m equivariant`` is the command ``equivariant``."""

import sys

from equivariant.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
