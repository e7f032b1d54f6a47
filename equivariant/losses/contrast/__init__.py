"""The core: every contrastive objective is a pull, a push, and a link between them."""
