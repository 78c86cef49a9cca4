"""slipway's parts as processes of this machine, on a Kubernetes of fake nodes."""

import hashlib
import hmac
import json
import os
import secrets
import subprocess

from machine import Running, free_port

# Fake pods take no room but in the numbers.
PROFILE = """
[[profile]]
name = "bench"
title = "Fake pods"
image = "localhost/fake:1"
engines = []
workers = { default = 1, most = 8 }
idle-limit = "0s"
lifetime = "0s"
node-selector = { type = "kwok" }
tolerations = [{ key = "kwok.x-k8s.io/node" }]

[profile.scheduler]
requests = { cpu = "50m", memory = "64Mi" }

[profile.worker]
requests = { cpu = "50m", memory = "64Mi" }
"""


class Installation:
    """A key, a database and profiles; its parts are started and stopped one by one."""

    def __init__(self, binaries, postgres, profiles, kubeconfig, log, key=None):
        self.binaries, self.log = binaries, log
        self.key = key or secrets.token_hex(32)
        self.database = f"bench{secrets.token_hex(4)}"
        postgres.sql(f"CREATE DATABASE {self.database}")
        self.postgres = postgres
        self.env = {"DATABASE_URL": postgres.url(self.database), "SLIPWAY_KEY": self.key,
                    "SLIPWAY_PROFILES": str(profiles), "KUBECONFIG": str(kubeconfig)}
        self.api, self.proxy, self.routes = (free_port() for _ in range(3))
        self.command("migrate")

    def command(self, *words, check=True):
        return subprocess.run([self.binaries / "slipway", *words], env={**os.environ, **self.env}, check=check,
                              capture_output=True, text=True)

    def start_api(self):
        return self.start("slipway-api", "--listen", f"127.0.0.1:{self.api}", "--total-workers", "100000", port=self.api)

    def start_proxy(self):
        return self.start(
            "slipway-proxy", "--listen", f"127.0.0.1:{self.proxy}", "--admin-listen", f"127.0.0.1:{self.routes}",
            "--api", f"127.0.0.1:{self.api}", port=self.proxy)

    def start_worker(self, *options, program=None):
        """`program` is run instead of slipway-worker, with its options."""
        health, program = free_port(), program or [self.binaries / "slipway-worker"]
        words = [*program, "--health-listen", f"127.0.0.1:{health}", *options]
        return Running(words, self.log, port=health, env=self.env)

    def start(self, name, *options, port):
        return Running([self.binaries / name, *options], self.log, port=port, env=self.env)

    def forget(self):
        self.postgres.sql(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")


def selector(key):
    """What selects the namespaces of an installation: src/domain/keyring.rs."""
    installation = hmac.new(bytes.fromhex(key), b"installation\0", hashlib.sha256).hexdigest()[:16]
    return f"slipway.dev/installation={installation}"


def build(root, *what):
    subprocess.run(["cargo", "build", "--profile", "dist", "--locked", *what], cwd=root, check=True)
    meta = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=root, check=True, capture_output=True)
    return json.loads(meta.stdout)["target_directory"] + "/dist"
