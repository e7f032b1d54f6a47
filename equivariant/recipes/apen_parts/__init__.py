"""Parts of bodies in recorded motions: networks on parts, told them in training alone."""
