"""SIE and its field at small scale: an ablation study, and the throughput of a step."""
