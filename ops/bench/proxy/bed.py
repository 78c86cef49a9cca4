"""What all scenarios share: cores, programs, a Postgres, an upstream, rounds."""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import Postgres, Running, free_port
from processes import cores_busy

ROOT = Path(__file__).resolve().parents[3]
# More are not needed.
MOST_FILES = 100_000
PROXY_CORE = 0


class Bed:
    """One run's folder and programs; the proxies have a core for themselves, all else shares the others."""

    def __init__(self, args, folder, log, binaries):
        self.args, self.folder, self.log = args, folder, log
        self.binaries, self.loader = binaries, binaries / "examples/proxy-bench"
        self.load_cores = list(range(1, os.cpu_count()))
        if not self.load_cores:
            sys.exit("two cores are needed: one is the proxy's, one the load's")
        # Of every program that is started here. Each connection that is proxied takes two.
        self.most_connections = raise_open_files() // 2 - 500
        self._postgres, self.running = None, []

    def scaled(self, count):
        return max(1, int(count * self.args.scale))

    def pinned(self, command, cores):
        return ["taskset", "-c", ",".join(map(str, cores)), *map(str, command)]

    def start(self, command, port=None, cores=None, env=None):
        """A program on the load's cores, or on those that are given; it is ended with the run."""
        running = Running(self.pinned(command, cores or self.load_cores), self.log, port=port, env=env)
        self.running.append(running)
        return running

    def stop(self, running):
        running.stop()
        self.running.remove(running)

    @property
    def postgres(self):
        if not self._postgres:
            before = os.sched_getaffinity(0)
            # A server's processes stay on the cores that it was started on.
            os.sched_setaffinity(0, self.load_cores)
            self._postgres = Postgres(Path(tempfile.mkdtemp(prefix="postgres-", dir=self.folder)), ROOT)
            os.sched_setaffinity(0, before)
        return self._postgres

    def upstream(self):
        """Answers as clusters do; its port."""
        port = free_port()
        self.start([self.loader, "upstream", "--listen", f"127.0.0.1:{port}"], port)
        return port

    def load(self, command):
        """Runs it on the load's cores: what it printed, and what it and these cores were busy with."""
        began, busy, used = time.monotonic(), cores_busy(self.load_cores), os.times()
        done = subprocess.run(self.pinned(command, self.load_cores), stdout=subprocess.PIPE, stderr=self.log, text=True)
        seconds, after = time.monotonic() - began, os.times()
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))} fails: see {self.log.name}")
        own = after.children_user + after.children_system - used.children_user - used.children_system
        full = (cores_busy(self.load_cores) - busy) / seconds / len(self.load_cores)
        return done.stdout, {"seconds": seconds, "load_cores": full, "load_own": own / seconds / len(self.load_cores)}

    def bench(self, *command):
        """The same for one of ops/bench/proxy/load: its report."""
        out, load = self.load([self.loader, *command])
        return {**json.loads(out.splitlines()[-1]), **load}

    def rounds(self, peers, measure, warm_up=True):
        """Measures each peer once a round, in turn, so that a busy machine is unfair to all alike."""
        results = {peer.name: [] for peer in peers}
        for round_ in range(0 if warm_up else 1, self.args.rounds + 1):
            for peer in peers:
                row = measure(peer)
                if round_:
                    results[peer.name].append(row)
                    shown = ", ".join(f"{key} {value:.6g}" for key, value in row.items() if isinstance(value, (int, float)))
                    print(f"round {round_} {peer.name}: {shown}", file=sys.stderr, flush=True)
        return {name: {key: median(rows, key) for key in rows[0]} for name, rows in results.items()}

    def close(self):
        """After each scenario: nothing of it is left."""
        while self.running:
            self.running.pop().stop()
        if self._postgres:
            self._postgres.stop()
            self._postgres = None


def raise_open_files():
    """As many open files as are allowed; their number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        # Root may, unless the machine's keeper says otherwise.
        resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
        return MOST_FILES
    except (ValueError, OSError):
        hard = min(hard, MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard


def median(rows, key):
    values = [row[key] for row in rows]
    return statistics.median(values) if isinstance(values[0], (int, float)) else values[-1]


def spent(peer, work, count):
    """CPU microseconds of the peer for each of what `work` does; `count` tells how many from its result."""
    before = peer.measured.cpu()
    result = work()
    taken = peer.measured.cpu() - before
    return {**result, "cpu": taken / count(result) * 1e6}
