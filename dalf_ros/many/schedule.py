"""Jobs through Ray: one task a recording, given again where its process or its machine was lost."""
from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .cluster import Share
from .worker import FAILED, Job, work

ATTEMPTS = 3            # then the recording is taken for what ends its process
WINDOW = 1000           # tasks that Ray holds at once: it looks through them all whenever one is done
LOOK_S = 0.5            # how long Ctrl-C may have to wait
GOODBYE_S = 5.0         # for tasks to remove what they have begun


def worked_through(jobs: Iterable[Job], share: Share, stop: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """The records of the jobs, in the order in which they end. stop: asked now and then; once it is True, what runs is cancelled.

    Worker processes stay from task to task, with what they have loaded and compiled. A task whose process dies is given to another one.
    """
    import ray

    # max_calls: with a GPU Ray would end the process after each task
    task = ray.remote(num_cpus=share.cpus, memory=share.memory, num_gpus=share.gpus, max_retries=0, max_calls=0)(work)
    threads = max(1, math.floor(share.cpus))
    waiting, running = deque((job, 1) for job in jobs), {}
    try:
        while waiting or running:
            while waiting and len(running) < WINDOW:
                job, attempt = waiting.popleft()
                running[task.remote(job, threads)] = job, attempt
            ended, _ = ray.wait(list(running), timeout=LOOK_S)
            if stop():
                return
            for reference in ended:
                job, attempt = running.pop(reference)
                try:
                    yield ray.get(reference) | {"attempts": attempt}
                except ray.exceptions.RayError as error:
                    if attempt < ATTEMPTS and _may_succeed_elsewhere(ray, error):
                        waiting.appendleft((job, attempt + 1))
                    else:
                        yield _lost(job, attempt, error)
    finally:
        if running:
            for reference in running:
                ray.cancel(reference)
            ray.wait(list(running), num_returns=len(running), timeout=GOODBYE_S)


def _may_succeed_elsewhere(ray: Any, error: Exception) -> bool:
    """Of a process that was killed, ran out of memory or whose machine is gone; not of an error that the task itself raised."""
    return not isinstance(error, (ray.exceptions.RayTaskError, ray.exceptions.TaskCancelledError))


def _lost(job: Job, attempts: int, error: Exception) -> dict[str, Any]:
    why = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if type(error).__name__ == "OutOfMemoryError":
        why = "the machine ran out of memory: give --memory what a recording needs, so that fewer run at once"
    return {"name": job.name, "source": job.source.told, "source_bytes": job.source.size, "status": FAILED,
            "error": f"its process ended {attempts} times: {why}" if attempts > 1 else why, "options_hash": job.options_hash,
            "attempts": attempts}
