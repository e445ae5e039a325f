"""Exact probabilities in integers and an entropy coder: the same bytes on every machine. No torch here."""

PRECISION = 28  # bits: frequencies of a distribution's symbols add up to 2 ** PRECISION
WORD_BITS = 32
LOWEST_HEAD = 1 << WORD_BITS  # a coder's heads stay in [2³², 2⁶⁴) between symbols

CDF_BITS = 30  # of mixtures' cumulative probabilities
REACH, CELLS_PER_SCALE = 24, 64  # scales; beyond, a cumulative probability is 0 or 1
CELL_BITS, INVERSE_BITS = 16, 32  # of a place within a cell, and of inverse scales
FULL_REACH = REACH * CELLS_PER_SCALE << CELL_BITS
