"""The ways to launch a class that are compared: each starts what it needs, and says how to click."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

from cluster import NAMESPACE
from machine import Running, children, free_port
from slipway import Installation

CACHE = Path("/var/tmp/slipway-bench-hub")
CHP = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "slipway-bench"
HUB_VERSION, SPAWNER_VERSION, CHP_VERSION = "6.1.1", "7.1.0", "5.3.0"


class Floor:
    """The objects and nothing else."""

    def __init__(self, bench, workers=4, bare=False):
        self.bench, self.identity, self.workers, self.bare = bench, bench.identities["floor"], workers, bare
        self.selector = bench.selector

    def start(self, count):
        return {}

    def click(self):
        how = ["floor", "--as", self.identity.kubeconfig, "--at-once", self.bench.at_once, "--key", self.bench.key,
               "--profiles", self.bench.profiles]
        return [*how, "--bare"] if self.bare else how

    def stop(self):
        pass


class Slipway:
    """API, proxy, worker and a new database; launches are let in as they come."""

    def __init__(self, bench, workers=4, bare=False):
        self.bench, self.identity, self.workers, self.bare = bench, bench.identities["slipway"], workers, bare
        self.selector = bench.selector
        self.parts = {}

    def start(self, count):
        bench = self.bench
        self.installation = Installation(
            bench.binaries, bench.postgres, bench.profiles, self.identity.kubeconfig, bench.log, bench.key)
        self.parts["slipway-api"] = self.installation.start_api()
        worker = [bench.clicker, "bare-worker"] if self.bare else None
        self.parts["slipway-worker"] = self.installation.start_worker(
            "--launches-at-once", "0", "--launch-rate", "0", "--requests-at-once", bench.at_once, program=worker)
        self.parts["slipway-proxy"] = self.installation.start_proxy()
        pids = {name: part.process.pid for name, part in self.parts.items()}
        return pids | {"postgres": bench.postgres.pid}

    def click(self):
        return [*(["--wait-for", 0] if self.bare else []), "slipway", "--proxy",
                f"127.0.0.1:{self.installation.proxy}", "--routes", f"127.0.0.1:{self.installation.routes}"]

    def stop(self):
        for part in reversed(self.parts.values()):
            part.stop()
        if self.parts:
            self.installation.forget()
        self.parts = {}


class Hub:
    """JupyterHub with KubeSpawner and configurable-http-proxy, with a namespace for each user or one for all."""

    workers = 0

    def __init__(self, bench, user_namespaces):
        self.bench, self.identity, self.user_namespaces = bench, bench.identities["hub"], user_namespaces
        self.selector = f"{NAMESPACE}=hub"
        self.hub = None

    def start(self, count):
        self.token = secrets.token_hex(16)
        self.port, self.proxy, self.routes = (free_port() for _ in range(3))
        folder = self.bench.folder / f"hub-{self.port}"
        folder.mkdir()
        env = {
            "BENCH_TOKEN": self.token, "BENCH_USER_NAMESPACES": "yes" if self.user_namespaces else "no",
            "BENCH_PROXY_PORT": str(self.proxy), "BENCH_HUB_PORT": str(self.port), "BENCH_ROUTES_PORT": str(self.routes),
            "BENCH_CHP": str(CHP / "node_modules/.bin/configurable-http-proxy"),
            "KUBECONFIG": str(self.identity.kubeconfig),
        }
        config = Path(__file__).parent / "jupyterhub_config.py"
        self.hub = Running(
            ["sh", "-c", 'cd "$1" && exec "$2" --config "$3"', "sh", folder, CACHE / "bin/jupyterhub", config],
            self.bench.log, port=self.port, env=env)
        self.bench.make_users(self.port, self.token, count)
        return {"jupyterhub": self.hub.process.pid, **{"chp": pid for pid in children(self.hub.process.pid)[:1]}}

    def click(self):
        return ["hub", "--hub", f"127.0.0.1:{self.port}", "--routes", f"127.0.0.1:{self.routes}", "--token", self.token]

    def stop(self):
        if self.hub:
            self.hub.stop()
            self.hub = None


def install_hub():
    """Into a cache outside of the checkout, once."""
    if not (CACHE / "bin/jupyterhub").exists():
        subprocess.run([sys.executable, "-m", "venv", CACHE], check=True)
        subprocess.run([CACHE / "bin/pip", "install", "-q", f"jupyterhub=={HUB_VERSION}",
                        f"jupyterhub-kubespawner=={SPAWNER_VERSION}"], check=True)
    if not (CHP / "node_modules/.bin/configurable-http-proxy").exists():
        subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", CHP,
                        f"configurable-http-proxy@{CHP_VERSION}"], check=True)
