"""What may vary from view to view beyond the seven numbers of 3DIEBench: one class a factor."""
