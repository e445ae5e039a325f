"""Exact probabilities in integers and an entropy coder: the same bytes on every machine. No torch here."""

PRECISION = 28  # bits: frequencies of a distribution's symbols add up to 2 ** PRECISION
WORD_BITS = 32
LOWEST_HEAD = 1 << WORD_BITS  # a coder's heads stay in [2³², 2⁶⁴) between symbols
