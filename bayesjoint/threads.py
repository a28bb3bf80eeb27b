"""Threads: small images are computed in one, where many would wait for one another longer than they work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["few_threads", "largest", "threads"]

SMALL = 640 * 640
"""Pixels up to which a fit in one thread is as fast as in two, or up to 1.4 times as fast: numpy's threads wait for cores that torch's hold."""


def largest(scene: Scene) -> int:
    """Pixels of the scene's largest image."""
    return max(im.data.size for im in scene.images)


@contextlib.contextmanager
def few_threads(pixels: int) -> Iterator[None]:
    """Compute in one thread if there are few pixels; the number of threads is as before afterwards."""
    with threads(1 if pixels <= SMALL else torch.get_num_threads()):
        yield


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute in so many threads; their number is as before afterwards."""
    before = torch.get_num_threads()
    if before != count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
