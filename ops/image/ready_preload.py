"""Loaded into the worker of a container: tells the container's first process whether it is connected and not leaving.

The worker itself is not asked: its HTTP server is there only some time after the container, and shows more than need be.
"""

import asyncio
import os

from distributed import Status

PIPE = int(os.environ["SLIPWAY_PIPE"])


async def tell(worker):
    told = None
    while True:
        ready = worker.status in (Status.running, Status.paused) and worker.batched_stream is not None
        if ready != told:
            os.write(PIPE, b"1" if ready else b"0")
            told = ready
        await asyncio.sleep(0.1)


async def scheduler_answers(address):
    """Dask waits ever longer between its tries, up to half a minute."""
    host, port = address.removeprefix("tcp://").rsplit(":", 1)
    while True:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), 2)
            writer.close()
            return
        except (OSError, asyncio.TimeoutError):
            await asyncio.sleep(0.2)


async def dask_setup(worker):
    worker.slipway_tells = asyncio.ensure_future(tell(worker))
    await scheduler_answers(worker.scheduler.addr)
