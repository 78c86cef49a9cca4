"""Enforces NetworkPolicies for the pods of one node: watches what they depend on, and loads rules.py's table when it changes.

A pod's address is told by cni.py before the pod's programs start, and the answer is given when the rules count it in."""

import argparse, http.client, json, os, socket, socketserver, ssl, subprocess, sys, threading, time
from urllib.parse import urlencode, urlsplit

import rules

# Changes come in bursts; one loading answers all of one. Below what a person or a test would notice.
BURST_SECONDS = 0.01
# How long a new pod waits for its own object to arrive here. The kubelet tries again after a refusal.
PATIENCE_SECONDS = 10


class State:
    """What is known of the cluster, and which change of it the loaded table contains."""

    def __init__(self):
        self.changed = threading.Condition()
        self.objects = {"pods": {}, "namespaces": {}, "networkpolicies": {}}
        self.listed = set()
        self.sandboxes = {}  # container id -> (namespace, name, address)
        self.version, self.loaded = 0, -1

    def change(self, do):
        with self.changed:
            do()
            self.version += 1
            self.changed.notify_all()

    def pods(self):
        """Pods with their addresses: those told by the network plugin, else, from before a restart, their status'."""
        told = {}
        for namespace, name, address in self.sandboxes.values():
            told.setdefault((namespace, name), set()).add(address)
        taken = {address for addresses in told.values() for address in addresses}
        found = []
        for key, pod in self.objects["pods"].items():
            status, addresses = pod.get("status", {}), told.get(key, set())
            if pod["spec"].get("hostNetwork"):
                continue
            if not addresses and status.get("phase") in ("Pending", "Running") and status.get("podIP"):
                addresses = {status["podIP"]} - taken
            if addresses:
                found.append(rules.pod_of(pod, addresses))
        return found

    def table(self, bridge):
        namespaces = {name: ns["metadata"].get("labels") or {} for (_, name), ns in self.objects["namespaces"].items()}
        return rules.table(bridge, self.pods(), namespaces, self.objects["networkpolicies"].values())

    def complete(self):
        return len(self.listed) == len(self.objects)


def key_of(thing):
    return thing["metadata"].get("namespace"), thing["metadata"]["name"]


class Watch(threading.Thread):
    """Keeps one kind of object as the apiserver has it. While that is away, what was last known stays in force."""

    def __init__(self, state, options, kind, path, **query):
        super().__init__(daemon=True)
        self.state, self.kind, self.path, self.query = state, kind, path, query
        self.address = urlsplit(options.apiserver).netloc
        self.tls = ssl.create_default_context(cafile=f"{options.pki}/ca.crt")
        self.tls.load_cert_chain(f"{options.pki}/policies.crt", f"{options.pki}/policies.key")

    def run(self):
        while True:
            try:
                version = self.list()
                while version:
                    version = self.follow(version)
            except (OSError, http.client.HTTPException, ValueError) as error:
                print(f"{self.kind}: {error}", file=sys.stderr, flush=True)
            time.sleep(0.2)

    def ask(self, seconds, **query):
        connection = http.client.HTTPSConnection(self.address, context=self.tls, timeout=seconds)
        connection.request("GET", f"{self.path}?{urlencode({**self.query, **query})}")
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"{answer.status} {answer.read(200)!r}")
        return connection, answer

    def list(self):
        connection, answer = self.ask(10)
        listing = json.loads(answer.read())
        connection.close()

        def replace():
            self.state.objects[self.kind] = {key_of(item): item for item in listing["items"]}
            self.state.listed.add(self.kind)

        self.state.change(replace)
        return listing["metadata"]["resourceVersion"]

    def follow(self, version):
        """Until the apiserver ends it after a minute; the version to go on from, or None to list anew."""
        connection, answer = self.ask(75, watch=1, resourceVersion=version, allowWatchBookmarks="true", timeoutSeconds=60)
        objects = self.state.objects[self.kind]
        for line in answer:
            event = json.loads(line)
            thing = event["object"]
            if event["type"] == "ERROR":
                version = None
                break
            version = thing["metadata"]["resourceVersion"]
            if event["type"] == "DELETED":
                self.state.change(lambda: objects.pop(key_of(thing), None))
            elif event["type"] != "BOOKMARK":
                self.state.change(lambda: objects.__setitem__(key_of(thing), thing))
        connection.close()
        return version


class Plugin(socketserver.StreamRequestHandler):
    """Answers cni.py: one line of JSON each way, {} for yes."""

    def handle(self):
        request = json.loads(self.rfile.readline())
        error = getattr(self, request["do"])(self.server.state, request)
        self.wfile.write(json.dumps({"error": error} if error else {}).encode() + b"\n")

    def add(self, state, request):
        key = request["namespace"], request["pod"]
        with state.changed:
            known = state.changed.wait_for(lambda: key in state.objects["pods"], PATIENCE_SECONDS)
        if not known:
            return f"the apiserver has not told of the pod {'/'.join(key)}"
        state.change(lambda: state.sandboxes.__setitem__(request["container"], (*key, request["address"])))
        with state.changed:
            wanted = state.version
            if not state.changed.wait_for(lambda: state.loaded >= wanted, PATIENCE_SECONDS):
                return "its rules could not be loaded: see the log"

    def delete(self, state, request):
        state.change(lambda: state.sandboxes.pop(request["container"], None))

    def ready(self, state, _):
        with state.changed:
            wanted = state.version
            if not state.changed.wait_for(lambda: state.loaded >= wanted, 1):
                return "the rules are behind"


def load(state, options):
    last = None
    while True:
        with state.changed:
            state.changed.wait_for(lambda: state.complete() and state.version > state.loaded)
        time.sleep(BURST_SECONDS)
        with state.changed:
            version, table = state.version, state.table(options.bridge)
        if table != last:
            done = subprocess.run(["nft", "-f", "-"], input=table, text=True, stderr=subprocess.PIPE)
            if done.returncode:
                print(f"nft: {done.stderr}", file=sys.stderr, flush=True)
                time.sleep(1)
                continue
            last = table
        with state.changed:
            state.loaded = version
            state.changed.notify_all()


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("bridge", "node", "apiserver", "pki", "socket"):
        parser.add_argument(f"--{option}", required=True)
    options = parser.parse_args()
    state = State()
    Watch(state, options, "pods", "/api/v1/pods", fieldSelector=f"spec.nodeName={options.node}").start()
    Watch(state, options, "namespaces", "/api/v1/namespaces").start()
    Watch(state, options, "networkpolicies", "/apis/networking.k8s.io/v1/networkpolicies").start()
    if os.path.exists(options.socket):
        os.unlink(options.socket)
    server = Server(options.socket, Plugin)
    server.state = state
    threading.Thread(target=server.serve_forever, daemon=True).start()
    load(state, options)


if __name__ == "__main__":
    main()
