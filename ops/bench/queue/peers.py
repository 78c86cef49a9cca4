"""The queues that are compared: how each is made ready to run, and started."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "slipway-bench/queue"


def quietly(*command, cwd=None, **env):
    done = subprocess.run([*map(str, command)], cwd=cwd, env={**os.environ, **env}, stdout=sys.stderr)
    return done.returncode == 0


class Queue:
    """`command` runs a scenario on the database in DATABASE_URL; None when the queue cannot be had here, for the reason `why`."""

    tools = []
    # Debian's, for tools that are missing.
    packages = []
    # What a long throughput is told as well.
    many = []
    # Samples of an idle queue's latency, of those that are asked for.
    share = 1
    # When another worker gets the jobs of one that was killed, unless told otherwise, and what says so.
    crash = None

    @classmethod
    def missing_packages(cls):
        return [] if all(shutil.which(tool) for tool in cls.tools) else cls.packages

    def __init__(self):
        missing = [tool for tool in self.tools if not shutil.which(tool)]
        self.why = f"{' and '.join(missing)} missing" if missing else ""
        self.command = None
        if not missing:
            self.command = self.install()
            self.why = "" if self.command else "its packages could not be installed"


class Slipway(Queue):
    name = "slipway"
    settings = "claims up to 32 at once, finishes together"
    # Clusters. With a thousand, each would be asked for something five times a second for ten minutes.
    many = [20000]

    def __init__(self, binaries):
        self.command, self.why = [binaries / "examples/queue-bench"], ""


class Awa(Queue):
    name = "awa 0.6.9"
    settings = "16 enqueue shards, 128 workers, no deadlines"
    crash = ("90 s after the last heartbeat, looked for each 30 s", "awa-worker's `ClientBuilder`")
    tools = ["cargo"]

    def install(self):
        target = CACHE / "awa"
        built = quietly("cargo", "build", "--release", "--locked", cwd=HERE / "awa", CARGO_TARGET_DIR=str(target))
        return [target / "release/awa-bench"] if built else None


class River(Queue):
    name = "River 0.51.2"
    settings = "fetch cooldown 2 ms, poll 20 ms, 2,000 workers (its own benchmark's)"
    crash = ("1 h after the job began, looked for each 30 s", "`Config.RescueStuckJobsAfter`, `JobRescuerIntervalDefault`")
    tools = ["go"]

    def install(self):
        program = CACHE / "river-bench"
        return [program] if quietly("go", "build", "-o", program, ".", cwd=HERE / "river") else None


class Node(Queue):
    packages = ["nodejs", "npm"]
    tools = ["node", "npm"]

    def install(self):
        folder = CACHE / "node"
        shutil.copytree(HERE / "node", folder, dirs_exist_ok=True)
        if not quietly("npm", "ci", "--silent", "--no-fund", "--no-audit", cwd=folder):
            return None
        return ["node", folder / self.script]


class PgBoss(Node):
    name = "pg-boss 10.4.2"
    settings = "4 workers, batches of 200, poll 0.5 s (the least)"
    crash = ("15 min after the job began, looked for each 2 min", "its schema's `expire_in`; `maintenanceIntervalSeconds` in attorney.js")
    script = "pg-boss.js"
    share = 0.2


class GraphileWorker(Node):
    name = "graphile-worker 0.17.3"
    settings = "24 jobs at once, local queue of 500, completions in batches (its own performance test's)"
    crash = ("4 h after the job began, looked for each 8 to 10 min", "worker.graphile.org/docs/error-handling, \"Instantaneous exit\"")
    script = "graphile-worker.js"


class Procrastinate(Queue):
    name = "Procrastinate 3.10.0"
    settings = "20 jobs at once"
    crash = ("when the application asks for stalled jobs and retries them: 30 s after the last heartbeat", "`JobManager.get_stalled_jobs`")
    packages = ["python3-venv"]

    @classmethod
    def missing_packages(cls):
        return [] if importlib.util.find_spec("ensurepip") else cls.packages

    def install(self):
        environment = CACHE / "procrastinate"
        python = environment / "bin/python"
        if not python.exists() and not quietly(sys.executable, "-m", "venv", environment):
            return None
        wanted = HERE / "procrastinate/requirements.txt"
        if not quietly(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted):
            return None
        return [python, HERE / "procrastinate/bench.py"]


PEERS = {"awa": Awa, "river": River, "pg-boss": PgBoss, "graphile-worker": GraphileWorker, "procrastinate": Procrastinate}
