"""A worker's container: one worker of each engine, and how they leave."""

import asyncio
import signal

from . import files, ipython, memory, spark
from .network import connectable, gone
from .processes import running
from .ready import Ready
from .supervisor import Engine, log

EXECUTOR = "CoarseGrainedExecutorBackend"


class Worker:
    def __init__(self, told, supervisor, _processes):
        self.told = told
        self.supervisor = supervisor
        self.ready = Ready()
        self.dask = self.ipython = self.spark = None

    async def start(self):
        told = self.told
        await self.ready.serve()
        environment = {**files.engine_environment(told), **files.worker_threads()}
        self.dask = Engine("dask", worker(told), environment, str(told.run), listener=self.ready.follow)
        self.supervisor.keep(self.dask)

        def reachable(port):
            return lambda: connectable(told.scheduler, port)

        if "ipyparallel" in told.engines:
            threads = {"OMP_NUM_THREADS": str(told.cpus), "OPENBLAS_NUM_THREADS": str(told.cpus)}
            self.ipython = Engine(
                "ipython",
                ipython.engine(told),
                {**environment, **threads},
                str(told.home),
                reachable(ipython.REGISTRATION),
            )
            self.supervisor.keep(self.ipython)
        if "spark" in told.engines:

            async def last():
                await self.ready.wait()
                await connectable(told.scheduler, spark.MASTER_PORT)

            # The JVM's start would take the processor from those who compute already.
            self.spark = Engine("spark", spark.worker(told), environment, str(told.run), last, nice=5)
            self.supervisor.keep(self.spark)

    async def leave(self):
        """Returns once everything that ran has been finished and handed over."""
        connected = self.ready.is_ready
        self.ready.close()
        engines = [engine for engine in (self.dask, self.ipython, self.spark) if engine is not None]
        for engine in engines:
            self.supervisor.give_up(engine)
        leaving = [self._leave_ipython(), self._leave_spark()]
        if connected:
            leaving.append(ended(self.dask, signal.SIGUSR1))
        # Then nobody is left to hand anything over to.
        scheduler_gone = asyncio.ensure_future(gone(self.told.scheduler, 8786))
        await asyncio.wait([asyncio.gather(*leaving), scheduler_gone], return_when=asyncio.FIRST_COMPLETED)
        await self.supervisor.end()

    async def _leave_ipython(self):
        if self.ipython is not None:
            await ended(self.ipython, signal.SIGUSR1)

    async def _leave_spark(self):
        if self.spark is None or not self.spark.alive or not running(EXECUTOR):
            return
        log("spark", "hands over its blocks and leaves")
        # spark-class replaces itself by the JVM, so that this is the worker.
        self.spark.signal(signal.SIGPWR)
        while running(EXECUTOR) and self.spark.alive:
            await asyncio.sleep(0.2)


async def ended(engine, number):
    if engine.alive:
        engine.signal(number)
        await engine.process.wait()


def worker(told):
    return [
        "dask",
        "worker",
        f"tcp://{told.scheduler}:8786",
        "--name",
        told.pod,
        "--nthreads",
        str(told.cpus),
        "--no-nanny",
        "--memory-limit",
        str(memory.dask_limit(told.memory, told.engines)),
        "--host",
        told.ip,
        # Its own page would listen on every interface otherwise, even unused.
        "--no-dashboard",
        "--dashboard-address",
        "127.0.0.1:0",
        "--local-directory",
        str(told.run),
        "--preload",
        str(told.code / "worker_preload.py"),
        "--preload",
        str(told.code / "ready_preload.py"),
    ]
