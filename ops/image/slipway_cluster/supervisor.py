"""Keeps engines running: each for itself, so that one that dies takes none along.

A supervisor of our own rather than a packaged one: a worker's leaving takes a different signal and patience for each engine,
and a Dask worker's readiness is asked for over HTTP. What is left for a package to do, starting again and reaping, is little.
"""

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass, field

from . import processes

LONGEST_WAIT = 20.0
# Whoever ran that long is not one that fails at each start.
STEADY = 30.0
LONGEST_LINE = 16 << 10


def log(name, text):
    sys.stdout.write(f"{name:<9} | {text}\n")
    sys.stdout.flush()


@dataclass
class Engine:
    name: str
    command: list
    environment: dict
    directory: str
    before: object = None
    """Awaited before each start: what the engine needs to be there."""
    nice: int = 0
    listener: object = None
    """Called with a pipe's end at each start; the other end has the number SLIPWAY_PIPE in the engine."""
    process: processes.Process | None = field(default=None, init=False)
    given_up: bool = field(default=False, init=False)

    @property
    def alive(self):
        return self.process is not None and self.process.alive

    def signal(self, number):
        if self.alive:
            self.process.signal(number)


def backoff(failures):
    """Seconds until the next start: at once after the first end, then longer and longer."""
    return 0.0 if failures <= 1 else min(0.5 * 2 ** (failures - 2), LONGEST_WAIT)


class Supervisor:
    def __init__(self, all_processes):
        self._processes = all_processes
        self._engines = []
        self._tasks = set()

    def keep(self, engine):
        self._engines.append(engine)
        self._spawn(self._keep(engine))

    def give_up(self, engine):
        """Does not start it again."""
        engine.given_up = True

    async def _keep(self, engine):
        failures = 0
        while not engine.given_up:
            if engine.before is not None:
                await engine.before()
            if engine.given_up:
                return
            started = time.monotonic()
            try:
                engine.process = self._start(engine)
            except OSError as error:
                log(engine.name, f"could not be started: {error}")
            else:
                self._spawn(self._show(engine.name, engine.process.output))
                status = await engine.process.wait()
                if engine.given_up:
                    return
                # What it started in its own group is of no use without it.
                engine.process.signal_group(signal.SIGKILL)
                log(engine.name, f"ended with status {status}; it is started again")
            failures = 1 if time.monotonic() - started >= STEADY else failures + 1
            await asyncio.sleep(backoff(failures))

    def _start(self, engine):
        command = ["nice", "-n", str(engine.nice), *engine.command] if engine.nice else engine.command
        if engine.listener is None:
            return self._processes.start(command, engine.environment, engine.directory)
        ours, theirs = os.pipe()
        environment = {**engine.environment, "SLIPWAY_PIPE": str(theirs)}
        try:
            process = self._processes.start(command, environment, engine.directory, (theirs,))
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._spawn(engine.listener(os.fdopen(ours, "rb", 0)))
        return process

    async def _show(self, name, pipe):
        rest = b""
        async for chunk in processes.chunks(pipe):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                log(name, line.rstrip(b"\r").decode(errors="replace"))
        if rest:
            log(name, rest.decode(errors="replace"))

    def _spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self, asked=(), patience=1.5):
        """Ends all: `asked` are given time to end in order, the others hold nothing that outlives the container."""
        for engine in self._engines:
            self.give_up(engine)
            if engine.alive:
                engine.process.signal_group(signal.SIGTERM if engine in asked else signal.SIGKILL)
        until = time.monotonic() + patience
        while any(engine.alive for engine in asked) and time.monotonic() < until:
            await asyncio.sleep(0.02)
        for engine in self._engines:
            if engine.alive:
                engine.process.signal_group(signal.SIGKILL)
