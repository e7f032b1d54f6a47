"""Verbs that hand views to others: exports, turntables."""
