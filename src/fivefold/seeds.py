"""Seeds for independent streams of random numbers, all derived from the user's one."""

from __future__ import annotations

import numpy as np


def derive_seed(seed: int, stream: str, step: int = 0) -> int:
    """A 63-bit seed for one step of one stream; any change of an argument gives an unrelated one."""
    entropy = [seed, step, *stream.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
