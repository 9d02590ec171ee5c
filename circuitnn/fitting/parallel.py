"""Work on several recordings at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def side_by_side(work: Callable[..., T], *arguments: Iterable[Any]) -> list[T]:
    """list(map(work, *arguments)) on as many threads as torch may use: what takes long lets the interpreter go."""
    count = torch.get_num_threads()
    # Torch would divide each of the workers' operations among as many threads again, which wait for each other.
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, *arguments))
    finally:
        torch.set_num_threads(count)
