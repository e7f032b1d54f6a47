"""Digits under affine maps: convolutions on linear groups and a plain network, on MNIST."""
