"""What kernels are written in: vectors in registers, and code without loops."""
