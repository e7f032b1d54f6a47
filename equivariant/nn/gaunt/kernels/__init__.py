"""How products are computed: one file per method, and the choice between them."""
