"""`slipway-cluster scheduler` and `slipway-cluster worker`."""

import asyncio
import os
import signal
import sys

from . import files, scheduler, settings, worker
from .processes import Processes
from .supervisor import Supervisor

MODES = {"scheduler": scheduler.Scheduler, "worker": worker.Worker}


async def run(mode, told):
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def stop():
        if asked.is_set():
            # Whatever still runs ends with the container's first process.
            os._exit(1)
        asked.set()

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, lambda: os._exit(1))
    all_processes = Processes()
    part = MODES[mode](told, Supervisor(all_processes), all_processes)
    await part.start()
    await asked.wait()
    await part.leave()


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in MODES:
        sys.exit("usage: slipway-cluster scheduler|worker")
    try:
        told = settings.read()
        files.prepare(told, sys.argv[1])
    except (settings.Invalid, OSError) as error:
        sys.exit(f"slipway-cluster: {error}")
    asyncio.run(run(sys.argv[1], told))
    # Not by way of interpreter's end, which would wait for threads.
    os._exit(0)


if __name__ == "__main__":
    main()
