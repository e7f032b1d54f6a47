"""SIE and its baselines on 3DIEBench: models, training, evaluation protocol, report, demo."""
