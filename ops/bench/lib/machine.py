"""Processes of this machine: started, waited for, ended by their ids, and what CPU they took."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def install(root, *packages):
    """Rust and Debian's packages, as far as they are missing."""
    script = 'cd "$0" && . ops/lib/packages.sh && toolchain && debian "$@" >&2'
    subprocess.run(["bash", "-c", script, root, *packages], check=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Running:
    """A program that was started; `port` is where it answers once it is ready."""

    def __init__(self, command, log, port=None, env=None, within=60):
        self.process = subprocess.Popen(
            [*map(str, command)], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, **(env or {})},
        )
        deadline = time.monotonic() + within
        while port:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{command[0]} does not start: see {log.name}")
                time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Asks it to end; whatever it leaves of its own session is ended with it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Postgres:
    """A server of its own, as durable as Postgres is by default; its socket is in the folder."""

    def __init__(self, folder, root, *settings):
        self.folder = folder
        script = '. "$1/ops/lib/postgres.sh"; postgres_start "${@:2}"; echo up; read -r _; postgres_stop'
        self.process = subprocess.Popen(
            ["bash", "-c", script, "bash", root, folder, *(settings or ["shared_buffers=256MB"])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )
        if self.process.stdout.readline().strip() != "up":
            sys.exit("Postgres does not start")
        self.pid = int((folder / "data/postmaster.pid").read_text().splitlines()[0])

    def url(self, database):
        return f"postgres:///{database}?host={self.folder}&user=slipway"

    def sql(self, statement, database="postgres"):
        return subprocess.run(["psql", "-qAt", self.url(database), "-c", statement], check=True, capture_output=True,
                              text=True).stdout.strip()

    def stop(self):
        self.process.communicate("\n", timeout=60)


def stat(pid):
    """The fields of /proc/PID/stat after the name; None when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def cpu(pid, with_children=False):
    """Seconds of CPU so far; with those of children, dead ones included."""
    fields = stat(pid)
    if not fields:
        return 0.0
    ticks = sum(map(int, fields[11:15] if with_children else fields[11:13]))
    if with_children:
        for child in children(pid):
            ticks += sum(map(int, (stat(child) or ["0"] * 13)[11:13]))
    return ticks / TICK


def children(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def machine_cpu():
    """Seconds that the machine's cores were at work, all together."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICK
