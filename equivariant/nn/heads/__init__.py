"""Heads in closed form: nothing in them is trained by descent."""
