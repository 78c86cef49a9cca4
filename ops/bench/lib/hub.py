"""JupyterHub with KubeSpawner on a Kubernetes of fake nodes."""

import json
import os
import secrets
import subprocess
import sys
import urllib.request
from pathlib import Path

from cluster import NAMESPACE, clear, kubectl
from machine import Running, children, free_port

CACHE = Path("/var/tmp/slipway-bench-hub")
CHP = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "slipway-bench"
HUB_VERSION, SPAWNER_VERSION, CHP_VERSION = "6.1.1", "7.1.0", "5.3.0"


class Hub:
    """JupyterHub with KubeSpawner and configurable-http-proxy, with a namespace for each user or one for all."""

    workers = 0

    def __init__(self, folder, log, identity, user_namespaces):
        self.folder, self.log, self.identity, self.user_namespaces = folder, log, identity, user_namespaces
        self.selector = f"{NAMESPACE}=hub"
        self.hub = None

    def start(self, count):
        self.token = secrets.token_hex(16)
        self.port, self.proxy, self.routes = (free_port() for _ in range(3))
        folder = self.folder / f"hub-{self.port}"
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
            self.log, port=self.port, env=env)
        self.make_users(count)
        return {"jupyterhub": self.hub.process.pid, **{"chp": pid for pid in children(self.hub.process.pid)[:1]}}

    def click(self):
        return ["hub", "--hub", f"127.0.0.1:{self.port}", "--routes", f"127.0.0.1:{self.routes}", "--token", self.token]

    def stop(self):
        if self.hub:
            self.hub.stop()
            self.hub = None

    def make_users(self, count):
        """The students, before they click."""
        url, names = f"http://127.0.0.1:{self.port}/hub/api/users", [f"u{number:03}" for number in range(count)]
        request = urllib.request.Request(
            url, json.dumps({"usernames": names}).encode(), {"Authorization": f"token {self.token}"}, method="POST")
        urllib.request.urlopen(request, timeout=60).read()

    def clear(self):
        if not self.user_namespaces:
            kubectl("-n", NAMESPACE, "delete", "pod", "-l", "app=jupyterhub", "--wait=true")
        clear(self.selector)


def install():
    """Into a cache outside of the checkout, once."""
    if not (CACHE / "bin/jupyterhub").exists():
        subprocess.run([sys.executable, "-m", "venv", CACHE], check=True)
        subprocess.run([CACHE / "bin/pip", "install", "-q", f"jupyterhub=={HUB_VERSION}",
                        f"jupyterhub-kubespawner=={SPAWNER_VERSION}"], check=True)
    if not (CHP / "node_modules/.bin/configurable-http-proxy").exists():
        subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", CHP,
                        f"configurable-http-proxy@{CHP_VERSION}"], check=True)
