"""Force fields of molecules: training and evaluation."""
