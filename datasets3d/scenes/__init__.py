"""Several objects in one scene: their arrangement, their views, and one element for each."""
