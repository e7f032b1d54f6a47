"""What corresponds: pairs of kinds, points, texts and codes of views."""
