"""Exact probabilities in integers and an entropy coder: the same bytes on every machine. No torch here."""
