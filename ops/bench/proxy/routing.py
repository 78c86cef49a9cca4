"""Routes and the log: adding, starting from it, and how soon an event is a route."""

import subprocess
import sys
import time

import peers
from bed import median
from report import at_most, ratio, section, table

ADDED, IN_BATCHES = 10_000, 2_500
EVENTS_EACH = 10  # of a cluster that the load's `seed` writes
CLUSTERS, LIVE = 100_000, 25_000  # four routes each
REFILLED = 10_000
SAMPLES = 500
# What the proxy reads at its start: src/store/clusters.rs.
ROWS = ("COPY (SELECT c.id, c.version, c.state, coalesce(c.routed_at, c.launched_at) FROM slipway.cluster c "
        "WHERE c.gone_at IS NULL) TO STDOUT")


class Way:
    """One of what a scenario compares, where that is no proxy that goes on running."""

    def __init__(self, name, once):
        self.name, self.once = name, once


def adding(bed):
    """6. routes, each durable."""
    routes = bed.scaled(ADDED)
    section("adding", f"{routes:,} routes, from empty: posted to the REST API, 32 at a time, by which slipway has them on disk when it "
            f"answers, and CHP in memory; and recorded by slipway's own code, {IN_BATCHES:,} events in a transaction.")
    upstream, all_cores = peers.replies(bed), [0, *bed.load_cores]

    def posted(kind, log):
        peer = kind(bed, upstream, log, all_cores)
        return peer, peer.add(routes)

    def recorded():
        _, log = peers.migrated(bed)
        peer = peers.Drop(bed, upstream, log, all_cores)
        return peer, bed.bench("batches", "--database", log, "--routes", routes, "--at-once", IN_BATCHES, "--target",
                               f"http://127.0.0.1:{upstream}")

    def measure(way):
        peer, report = way.once()
        if report["added"] != routes:
            sys.exit(f"{way.name}: {report['added']} of {routes} were added: {report.get('why')}")
        # All of them lead somewhere.
        for number in [0, routes - 1]:
            peers.answered(lambda: peers.fetch(f"http://127.0.0.1:{peer.port}/user/u{number}/"))
        peer.stop()
        return report

    ways = [Way("slipway", lambda: posted(peers.Drop, peers.migrated(bed)[1])),
            Way("slipway, in memory", lambda: posted(peers.Drop, None)), Way("slipway, in batches", recorded)]
    ways += [] if "chp" in bed.args.without else [Way("CHP", lambda: posted(peers.Chp, None))]
    results = bed.rounds(ways, measure)
    columns = [("", ""), ("seconds", ".2f"), ("p50 ms", ".2f"), ("p99 ms", ".2f"), ("the load's own CPU, of a core", ".0%")]
    table(columns, [[name, row["seconds"], row.get("p50_ms"), row.get("p99_ms"), row["load_own"] * len(bed.load_cores)]
                    for name, row in results.items()])
    at_most("seconds over REST, of CHP's", ratio(results, "slipway", "CHP", "seconds"), 1)
    at_most("seconds in batches", results["slipway, in batches"]["seconds"], 0.3 * bed.args.scale)


def start(bed):
    """7. from a long log."""
    clusters, live = bed.scaled(CLUSTERS), bed.scaled(LIVE)
    refilled = bed.scaled(REFILLED)
    section("start", f"From the start of the program to the first request that is routed: {live * 4:,} routes of {live:,} clusters, "
            f"out of a log of {clusters * EVENTS_EACH:,} events of {clusters:,} clusters; the floor is psql reading the same rows. CHP "
            f"is refilled with {refilled:,} routes over REST, 32 at a time.")
    upstream, all_cores = peers.replies(bed), [0, *bed.load_cores]
    log = peers.seeded(bed, upstream, live, clusters - live, notebook_only=False)

    def slipway():
        began = time.monotonic()
        peer = peers.Slipway(bed, upstream, log, all_cores)
        # The last that was written, in case it serves before it has read them all.
        peers.answered(lambda: peers.fetch(f"http://127.0.0.1:{peer.port}/cluster-{100_000 + live - 1}/"))
        return peer, time.monotonic() - began

    def floor():
        began = time.monotonic()
        subprocess.run(["psql", "-qAt", log, "-c", ROWS], stdout=subprocess.DEVNULL, check=True)
        return None, time.monotonic() - began

    def chp():
        began = time.monotonic()
        peer = peers.Chp(bed, upstream, None, all_cores)
        peer.add(refilled)
        return peer, time.monotonic() - began

    def measure(way):
        peer, seconds = way.once()
        resident = peer.measured.resident() if peer else None
        if peer:
            peer.stop()
        return {"seconds": seconds, **({"resident": resident} if peer else {})}

    ways = [Way("slipway", slipway), Way("the floor: reading the rows", floor)]
    if "chp" not in bed.args.without:
        ways.append(Way(f"CHP, {refilled:,} routes", chp))
    results = bed.rounds(ways, measure)
    table([("", ""), ("seconds", ".2f"), ("resident MiB", ".0f")],
          [[name, row["seconds"], row.get("resident")] for name, row in results.items()])
    at_most("seconds to serve", results["slipway"]["seconds"], 1)


def commit(bed):
    """8. how soon an event is a route."""
    samples = bed.scaled(SAMPLES)
    section("commit", f"From the commit of the event to the first request that is routed, on each of two replicas; {samples} clusters, "
            "each proxy asked every millisecond.")
    upstream, all_cores = peers.replies(bed), [0, *bed.load_cores]
    log = peers.seeded(bed, upstream, 1)
    replicas = [peers.Slipway(bed, upstream, log, all_cores) for _ in range(2)]
    words = ["--proxies", ",".join(f"127.0.0.1:{replica.port}" for replica in replicas), "--target", f"127.0.0.1:{upstream}"]
    rows = [bed.bench("commit", "--database", log, *words, "--samples", samples) for _ in range(bed.args.rounds)]
    keys = ["p50_ms", "p99_ms", "most_ms", "slower_p50_ms", "slower_p99_ms"]
    names = ["p50 ms", "p99 ms", "most ms", "slower replica p50 ms", "p99 ms"]
    table([(name, ".1f") for name in names], [[median(rows, key) for key in keys]])
    at_most("p99 in ms, of both replicas", median(rows, "p99_ms"), 10)
    for replica in replicas:
        replica.stop()
