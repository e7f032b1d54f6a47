"""The same object in the same pose as picture, cloud and numbers."""
