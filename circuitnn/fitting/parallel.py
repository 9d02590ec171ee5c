"""Work on several recordings, or parts of them, at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

J = TypeVar("J")
P = TypeVar("P")
T = TypeVar("T")


def side_by_side(work: Callable[..., T], *arguments: Iterable[Any]) -> list[T]:
    """list(map(work, *arguments)) on as many threads as torch may use: what takes long lets the interpreter go."""
    with _workers() as pool:
        return list(pool.map(work, *arguments))


def cascade(begin: Callable[[J], Iterable[P]], work: Callable[[P], T], jobs: Iterable[J]) -> list[list[T]]:
    """[[work(part) for part in begin(job)] for job in jobs] in the same way: a part is worked on as soon as its job has
    come up with it, while the job goes on to the next."""
    with _workers() as pool:
        begun = [pool.submit(lambda job: [pool.submit(work, part) for part in begin(job)], job) for job in jobs]
        return [[part.result() for part in parts.result()] for parts in begun]


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    count = torch.get_num_threads()
    # Torch would divide each of the workers' operations among as many threads again, which wait for each other.
    pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        # After an error, or Ctrl-C, what has not begun is left.
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(count)
