"""The ways to launch a class that are compared: each starts what it needs, and says how to click."""

from cluster import clear
from slipway import Installation


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

    def clear(self):
        clear(self.selector)


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

    def clear(self):
        clear(self.selector)
