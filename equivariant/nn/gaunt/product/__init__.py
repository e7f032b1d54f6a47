"""Products of two functions on the sphere, and the layers made of them."""
