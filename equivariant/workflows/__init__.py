"""What recipes share: measuring models and runs, running an experiment, loading foreign code."""
