"""What a class notices when a proxy dies, and when both are replaced."""

import json
import signal
import subprocess
import time

import peers
from machine import Running, free_port
from report import at_most, section, table

RATE, WEBSOCKETS = 2_000, 200
# Traffic before, between and after what is done to the proxies.
PAUSE = 2
# What WebSockets get to end in when their proxy is replaced.
DRAIN = "5s"

BALANCER = """
global
  maxconn 4000
  no log
defaults
  mode tcp
  timeout connect 1s
  timeout check 1s
  timeout client 1h
  timeout server 1h
  retries 3
  option redispatch 1
listen front
  bind 127.0.0.1:{port} backlog 4096
  balance roundrobin
  server a 127.0.0.1:{a} check inter 100ms fall 1 rise 1
  server b 127.0.0.1:{b} check inter 100ms fall 1 rise 1
"""


class Replica:
    """A slipway-proxy at a port that it keeps while its processes come and go."""

    def __init__(self, bed, log):
        self.bed, self.port, self.key = bed, free_port(), "5" * 64
        self.program, self.log = bed.binaries / "slipway-proxy", log
        self.hands_over = peers.knows(self.program, "--reuse-port")
        self.running = self.begin()

    def begin(self):
        """A new process, once it has its routes."""
        admin = free_port()
        words = ["--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{admin}"]
        words += ["--reuse-port", "--drain", DRAIN, "--drain-tunnels", DRAIN] if self.hands_over else []
        running = self.bed.start([self.program, *words], admin, [0, *self.bed.load_cores],
                                 {"DATABASE_URL": self.log, "SLIPWAY_KEY": self.key})
        probe = "readyz" if self.hands_over else "healthz"
        peers.answered(lambda: peers.fetch(f"http://127.0.0.1:{admin}/{probe}"))
        return running

    def replace(self):
        """As a rolling restart does it: where the port can be shared, the new process is there before the old one goes."""
        old = self.running
        if self.hands_over:
            self.running = self.begin()
        old.process.send_signal(signal.SIGTERM)
        old.process.wait(60)
        self.bed.running.remove(old)
        if not self.hands_over:
            self.running = self.begin()

    def kill(self):
        """When nothing of it was left."""
        self.running.kill()
        self.bed.running.remove(self.running)
        return time.time()


class Traffic:
    """What runs meanwhile; its report at the end."""

    def __init__(self, bed, port):
        words = ["steady", "--to", f"127.0.0.1:{port}", "--path", peers.PATH, "--rate", RATE, "--websockets", WEBSOCKETS]
        self.process = subprocess.Popen(bed.pinned([bed.loader, *words], bed.load_cores), stdout=subprocess.PIPE, text=True,
                                        start_new_session=True)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return json.loads(self.process.communicate(timeout=60)[0])


def balanced(bed, replicas):
    port = free_port()
    file = bed.folder / f"balancer-{port}"
    file.write_text(BALANCER.format(port=port, a=replicas[0].port, b=replicas[1].port))
    bed.start(["haproxy", "-db", "-f", file], port)
    return port


def quiet(port):
    time.sleep(PAUSE)


def rolling(bed, port, replicas):
    traffic = Traffic(bed, port)
    quiet(port)
    for replica in replicas:
        replica.replace()
        quiet(port)
    return {**traffic.end(), "at": None}


def killed(bed, port, replicas):
    traffic = Traffic(bed, port)
    quiet(port)
    at = replicas[0].kill()
    quiet(port)
    replicas[0].running = replicas[0].begin()
    quiet(port)
    return {**traffic.end(), "at": at}


def summed(reports):
    after = lambda report, key: sum(1 for row in report[key] if report["at"] and row[0] > report["at"])
    total = lambda key: sum(len(report[key]) for report in reports)
    return {
        "requests": sum(report["requests"] for report in reports), "failed": total("failed"), "again": total("again"),
        "after": sum(after(report, "failed") + after(report, "refused") for report in reports),
        "closed": total("closed"), "refused": total("refused"), "p99": max(report["p99_ms"] for report in reports),
        "why": sorted({row[1] for report in reports for row in [*report["failed"], *report["refused"]]}),
    }


def restart(bed):
    """9. a proxy dies, and both are replaced."""
    section("restart", f"Two slipway-proxies on one log behind HAProxy in TCP mode: {RATE:,} requests a second, one in ten of which "
            f"takes 100 ms, and {WEBSOCKETS} WebSockets that echo once a second, while one proxy is killed (SIGKILL) and comes back, "
            f"and while both are replaced one after the other; {bed.args.rounds} times each, all counted. A request whose kept "
            "connection ended before an answer began is sent once more, as every client does.")
    upstream = bed.upstream()
    log = peers.seeded(bed, upstream, 1)
    replicas = [Replica(bed, log) for _ in range(2)]
    port = balanced(bed, replicas)
    ways = {"both replaced": rolling, "one killed": killed}
    reports = {name: [] for name in ways}
    for _ in range(bed.args.rounds):
        for name, way in ways.items():
            reports[name].append(way(bed, port, replicas))
    results = {name: summed(rows) for name, rows in reports.items()}
    columns = [("", ""), ("requests", ",.0f"), ("failed", ",.0f"), ("sent once more", ",.0f"), ("WebSockets closed", ",.0f"),
               ("not opened again at once", ",.0f"), ("p99 ms", ".1f"), ("why", "")]
    keys = ["requests", "failed", "again", "closed", "refused", "p99"]
    table(columns, [[name, *(row[key] for key in keys), "; ".join(row["why"][:3])] for name, row in results.items()])
    both = results["both replaced"]
    at_most("failed while both are replaced, WebSockets that were not opened again included", both["failed"] + both["refused"], 0)
    at_most("failed that were sent after the kill", results["one killed"]["after"], 0)
    if not replicas[0].hands_over:
        print("- this build cannot hand its port over: the balancer has to notice that it is gone")
    for replica in replicas:
        bed.stop(replica.running)
