"""What corresponds: pairs of kinds, and codes of views."""
