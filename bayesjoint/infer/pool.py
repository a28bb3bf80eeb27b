"""Pool: work shared out among processes, of which this one is one: it works while the others still start."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any

import cloudpickle

__all__ = ["cores", "share"]

Watch = Callable[[], None]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(work: Callable[[Any, Watch], Any], tasks: Sequence[Any], workers: int, watch: Watch = lambda: None) -> list[Any]:
    """Results of `work` for each task, in order.

    Parameters
    ----------
    work : callable
        Of a task, and of a function that it calls now and then: there progress is shown, processes that are free are given more to do, and a
        process whose parent is gone ends.
    tasks : sequence
    workers : int
        Processes, this one among them.
    watch : callable, optional
        Called with each of those calls here, and a few times a second while others work.
    """
    left, results, executor = list(enumerate(tasks)), [None] * len(tasks), None
    running: dict[Future, int] = {}
    if min(workers, len(tasks)) > 1:
        from loky import get_reusable_executor

        executor = get_reusable_executor(max_workers=workers - 1, timeout=60)

    def tend() -> None:
        watch()
        for future in [f for f in running if f.done()]:
            results[running.pop(future)] = future.result()
        while executor is not None and left and len(running) < workers - 1:  # no queue: what waits in one could not be taken back
            k, task = left.pop(0)
            running[executor.submit(_elsewhere, cloudpickle.dumps((work, task)))] = k

    try:
        while left:
            k, task = left.pop(0)
            tend()
            results[k] = work(task, tend)
        while running:
            wait(running, timeout=0.2)
            tend()
    except BaseException:
        if executor is not None:
            executor.shutdown(wait=False, kill_workers=True)
        raise
    return results


def _elsewhere(packed: bytes) -> Any:
    """One task in a process that ends when whoever wanted it is gone."""
    parent = os.getppid()
    work, task = cloudpickle.loads(packed)

    def watch() -> None:
        if os.getppid() != parent:
            raise SystemExit

    return work(task, watch)
