"""Pool: work shared out among this process and others."""

import os
import time

import pytest

from bayesjoint.infer.pool import share


def slowly(task, watch):
    for _ in range(20):
        time.sleep(0.02)
        watch()
    return task, os.getpid()


def failing(task, watch):
    watch()
    if task == 3:
        raise ValueError("Task 3 is no good.")
    return slowly(task, watch)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_order_and_all_work(workers):
    seen = []
    found = share(slowly, range(12), workers, lambda: seen.append(1))
    assert [task for task, _ in found] == list(range(12))
    processes = {pid for _, pid in found}
    assert os.getpid() in processes and len(processes) <= workers and len(seen) >= 20
    if workers > 1:
        assert len(processes) > 1


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_raised_anywhere_is_raised_here(workers):
    with pytest.raises(ValueError, match="Task 3"):
        share(failing, range(8), workers)
    assert share(slowly, [1], workers) == [(1, os.getpid())]


@pytest.mark.parametrize("sampler", ["laplace", "svi", "nuts"])
def test_workers_that_are_no_number_of_processes_are_refused(best, sampler):
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match="workers must be a whole number of at least 1"):
            getattr(best, sampler)(10, workers=wrong)


def test_nothing_to_do():
    assert share(slowly, [], 2) == []
