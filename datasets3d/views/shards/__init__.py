"""Sets as tar shards in the WebDataset convention, with an index for random access."""
