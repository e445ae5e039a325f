"""Batches of small items beside each other, a core each: threads that share products as small as those of their networks' wait
for each other most of the time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Any

import numpy as np
import torch

from fivefold.model.fitted import FittedModel

_SMALL = 256  # elements of an item
_FEWEST = 64  # rows of a thread


def in_threads(model: FittedModel, work: Callable[..., None], tasks: Iterable[tuple[Any, ...]]) -> None:
    """`work(*task)` for each task: of small items, on processors, in as many threads as PyTorch has; few tasks are in memory.

    Raises what `work` raises.
    """
    threads, first = torch.get_num_threads(), list(islice(tasks := iter(tasks), 2))
    if len(first) < 2 or threads == 1 or model.device.type != "cpu" or model.schema.size > _SMALL:
        for task in chain(first, tasks):
            work(*task)
        return
    inference, waiting = torch.is_inference_mode_enabled(), deque[Future[None]]()

    def alone(task: tuple[Any, ...]) -> None:
        with torch.inference_mode(inference):  # which threads do not inherit
            work(*task)

    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for task in chain(first, tasks):
                waiting.append(pool.submit(alone, task))
                if len(waiting) > 2 * threads:
                    waiting.popleft().result()
            for future in waiting:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # some libraries beneath have one number for all threads


def in_parts(work: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """`work(rows)` in NumPy, which says of each row what depends on no other, in as many threads as PyTorch has."""
    threads = min(torch.get_num_threads(), len(rows) // _FEWEST)
    if threads < 2:
        return work(rows)
    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(work, np.array_split(rows, threads))))
