"""Loaded into `dask worker` as it starts: on SIGUSR1 the worker leaves the cluster without losing anything.

A signal, rather than the scheduler's HTTP API: that one would be open to whoever reaches the dashboard.
"""

import asyncio
import os
import signal
import sys
from time import time

leaving = None


async def leave(worker):
    me = worker.address

    async def retire(remove):
        return await worker.scheduler.retire_workers(
            workers=[me],
            close_workers=False,
            remove=remove,
            stimulus_id=f"slipway-leave-{time()}",
        )

    # Marks the worker as closing, so that it is given nothing new, and copies its results to others.
    # Refused as long as there is nobody to take them; slipway ends the worker when its patience does.
    while me not in await retire(remove=False):
        await asyncio.sleep(1)
    # Dask by itself would throw away what runs here and begin it again elsewhere.
    while worker.state.executing or worker.state.long_running or worker.batched_stream.buffer:
        await asyncio.sleep(0.05)
    # The end of what ran reaches the scheduler by another connection than these questions do: only after one more
    # answer does it surely know of it, and would not begin it again.
    while me not in await retire(remove=False):
        await asyncio.sleep(1)
    while me not in await retire(remove=True):
        await asyncio.sleep(1)
    await worker.close(nanny=False, reason="retired by slipway")


async def dask_setup(worker):
    # Modules beside the student's notebooks can be imported here too, but never hide Python's own.
    sys.path.append(os.environ["HOME"])

    def start_leaving():
        global leaving
        if leaving is None:
            leaving = asyncio.ensure_future(leave(worker))

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, start_leaving)
