"""Starting processes and learning of their end. As the container's first process this also takes in every orphan."""

import asyncio
import os
import signal
import subprocess


class Process:
    """A process that was started, leader of a group of its own."""

    def __init__(self, popen, ended):
        self._popen = popen
        self.pid = popen.pid
        self.output = popen.stdout
        self._ended = ended

    @property
    def alive(self):
        return not self._ended.done()

    async def wait(self):
        """Its exit status, negative for a signal."""
        return await asyncio.shield(self._ended)

    def signal(self, number):
        if self.alive:
            os.kill(self.pid, number)

    def signal_group(self, number):
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass


class Processes:
    """asyncio's own watchers wait for one process each, and would leave orphans as zombies."""

    def __init__(self):
        self._waiting = {}
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(self, command, environment, directory, descriptors=()):
        popen = subprocess.Popen(
            command,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=descriptors,
        )
        ended = asyncio.get_running_loop().create_future()
        self._waiting[popen.pid] = (popen, ended)
        return Process(popen, ended)

    def _reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._waiting:
                popen, ended = self._waiting.pop(pid)
                # Else Popen itself would wait for this number, which another may have by then.
                popen.returncode = os.waitstatus_to_exitcode(status)
                ended.set_result(popen.returncode)


async def chunks(pipe):
    """What comes out of a pipe, until nobody can write to it any more."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        while chunk := await reader.read(1 << 16):
            yield chunk
    finally:
        transport.close()


def running(word):
    """The processes of this container with that word in their command line."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if word.encode() in file.read():
                        found.append(int(entry))
            except OSError:
                pass
    return found
