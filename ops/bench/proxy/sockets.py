"""WebSockets: messages a second, and the memory of those that are idle."""

import json
import signal
import subprocess
import sys

import peers
from bed import spent
from report import LOAD_COLUMN, at_least, at_most, load_share, ratio, section, table

ECHOING = 1_000
IDLE = 10_000
# CHP refuses some; what one takes can be told by the others.
ENOUGH = 0.9


def echo(bed, peer):
    words = ["--path", f"{peers.PATH}api/kernels/1/channels", "--connections", bed.scaled(ECHOING), "--seconds", bed.args.seconds]
    report = bed.bench("websockets", "--to", f"127.0.0.1:{peer.port}", *words)
    if report["refused"] or report["broken"]:
        sys.exit(f"{peer.name}: {report}")
    return report


class Idle:
    """So many WebSockets that are open and say nothing."""

    def __init__(self, bed, peer, count):
        words = ["websockets", "--to", f"127.0.0.1:{peer.port}", "--path", f"{peers.PATH}api/kernels/1/channels", "--connections", count]
        self.process = subprocess.Popen(bed.pinned([bed.loader, *words], bed.load_cores), stdout=subprocess.PIPE, text=True,
                                        start_new_session=True)
        report = json.loads(self.process.stdout.readline() or '{"opened": 0, "refused": "all", "why": "the load ended"}')
        self.opened = report["opened"]
        if report["refused"]:
            print(f"{peer.name} refused {report['refused']} of {count} WebSockets: {report['why']}", file=sys.stderr)
        if self.opened < ENOUGH * count:
            self.close()
            sys.exit(f"{peer.name}: only {self.opened} WebSockets are open")

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)


def websockets(bed):
    """5. echo and idle."""
    idle = bed.scaled(min(IDLE, bed.most_connections))
    section("websockets", f"Echo of 64 bytes over {bed.scaled(ECHOING):,} connections, each of which waits for its last; then {idle:,} "
            f"idle ones (open files allow {bed.most_connections:,}): what each adds to the memory of a proxy that was just started.")
    upstream = bed.upstream()
    proxies = peers.started(bed, ["slipway", "nginx", "chp"], upstream)
    results = bed.rounds(proxies, lambda peer: spent(peer, lambda: echo(bed, peer), lambda result: result["messages"]))
    for peer in proxies:
        peer.stop()

    def held(name):
        """Of a fresh process each time: what was freed before is used again, and would not be counted. So is the upstream: towards
        one address a proxy has no more than 28,000 ports, and each is kept a minute after its connection is closed."""
        [peer] = peers.started(bed, [name], bed.upstream())
        before = peer.measured.resident()
        sockets = Idle(bed, peer, idle)
        each = (peer.measured.resident() - before) * 1024 / sockets.opened
        sockets.close()
        peer.stop()
        return each

    class Fresh:
        def __init__(self, name, key):
            self.name, self.key = name, key

    fresh = [Fresh(peer.name, peer.name.lower()) for peer in proxies]
    memory = bed.rounds(fresh, lambda one: {"idle": held(one.key)}, warm_up=False)
    columns = [("proxy", ""), ("messages/s", ",.0f"), ("of nginx", ".2f"), ("p99 ms", ".1f"), ("CPU µs a message", ".1f"),
               ("KiB an idle one", ".1f"), LOAD_COLUMN]
    table(columns, [[name, row["per_second"], ratio(results, name, "nginx", "per_second"), row["p99_ms"], row["cpu"],
                     memory[name]["idle"], load_share(row)] for name, row in results.items()])
    at_least("messages/s, of nginx", ratio(results, "slipway", "nginx", "per_second"), 1)
    if "nginx" in memory and "slipway" in memory:
        at_most("KiB of an idle one, more than nginx's", memory["slipway"]["idle"] - memory["nginx"]["idle"], 10)
