"""A verdict on a measurement, and the likely causes of an error."""
