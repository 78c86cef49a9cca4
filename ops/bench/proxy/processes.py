"""What a running program and its children have taken: CPU, memory, sockets; and how full cores are."""

import os
from pathlib import Path

from machine import TICK, children, cpu


class Measured:
    """A process with all of its children, as nginx has workers."""

    def __init__(self, pid):
        self.pid = pid

    def pids(self):
        return [self.pid, *children(self.pid)]

    def cpu(self):
        """Seconds of CPU so far, user and system, of all threads."""
        return cpu(self.pid, with_children=True)

    def resident(self):
        """MiB in memory now."""
        return sum(self._status(pid, "VmRSS") for pid in self.pids()) / 1024

    def peak(self):
        """MiB in memory at most since `forget_peak`."""
        return sum(self._status(pid, "VmHWM") for pid in self.pids()) / 1024

    def forget_peak(self):
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def sockets(self):
        """TCP connections and listeners, in whatever state; those to a database on this machine are not among them."""
        tcp = set()
        for family in ["tcp", "tcp6"]:
            tcp.update(line.split()[9] for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:])
        return sum(self._sockets(pid, tcp) for pid in self.pids())

    @staticmethod
    def _sockets(pid, tcp):
        count = 0
        for entry in os.listdir(f"/proc/{pid}/fd"):
            try:
                count += os.readlink(f"/proc/{pid}/fd/{entry}").removeprefix("socket:[").removesuffix("]") in tcp
            except FileNotFoundError:
                pass  # closed meanwhile
        return count

    @staticmethod
    def _status(pid, name):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
        return 0


def cores_busy(cores):
    """Seconds that these cores were at work so far, all together."""
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.removeprefix("cpu") in map(str, cores):
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            total += user + nice + system + irq + softirq + steal
    return total / TICK
