"""Pairs of views or clouds with the element between them, and streams of them."""
