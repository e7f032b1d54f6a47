"""Measures of actions: the group law, actions fitted to features, how pairs are explained."""
