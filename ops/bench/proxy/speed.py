"""Requests: how many a second, what each costs, and whether the number of routes matters."""

import re
import sys

import peers
from bed import spent
from report import LOAD_COLUMN, LOAD_NOTE, at_least, at_most, load_share, ratio, section, table

CONNECTIONS = 64
RATE = 20_000
# More than this CHP does not carry.
CHP_RATE = 2_000
ROUTES = [1, 10_000, 100_000]
CHP_ROUTES = [1, 10_000]
# So many paths are asked for in turn.
PATHS = 1_000


def wrk(bed, url):
    """Requests a second and the 99th percentile, from as many connections as wrk keeps busy."""
    threads = len(bed.load_cores)
    out, load = bed.load(["wrk", f"-t{threads}", f"-c{CONNECTIONS}", f"-d{bed.args.seconds}s", "--latency", url])
    bad = re.search(r"(Non-2xx or 3xx responses|Socket errors).*", out)
    if bad:
        sys.exit(f"{url}: not all answered: {bad.group(0)}")
    find = lambda pattern: re.search(pattern, out).groups()
    p99, unit = find(r"99%\s+([\d.]+)(us|ms|s)")
    return {"rps": float(find(r"Requests/sec:\s+([\d.]+)")[0]), "count": int(find(r"(\d+) requests in")[0]),
            "p99": float(p99) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit], **load}


def h2load(bed, urls, rate=None):
    """Requests at a fixed rate, or without one as many as go; the paths are asked for in turn."""
    command = ["h2load", "--h1", "-t", len(bed.load_cores), "-c", CONNECTIONS, "-D", bed.args.seconds]
    if rate:
        command += ["--rps", f"{rate / CONNECTIONS:.6g}"]
    file = bed.folder / "urls"
    file.write_text("\n".join(urls) + "\n")
    out, load = bed.load([*command, "-i", file])
    done, good = re.search(r"(\d+) done, (\d+) succeeded", out).groups()
    ok = int(re.search(r"status codes: (\d+) 2xx", out).group(1))
    if not ok or int(done) != int(good) or int(done) != ok:
        sys.exit(f"{urls[0]}: not all answered: {out}")
    return {"rps": ok / bed.args.seconds, "count": ok, **load}


def count(result):
    return result["count"]


def requests(bed):
    """1. as many as go."""
    section("requests", f"{CONNECTIONS} connections that are kept, replies of 1 KB, each proxy alone on one core. {LOAD_NOTE}")
    proxies = peers.started(bed, ["slipway", "nginx", "haproxy", "chp"], peers.replies(bed))
    measure = lambda peer: spent(peer, lambda: wrk(bed, peer.url()), count)
    results = bed.rounds(proxies, measure)
    columns = [("proxy", ""), ("requests/s", ",.0f"), ("of nginx", ".2f"), ("p99 ms", ".2f"), ("CPU µs a request", ".1f"), LOAD_COLUMN]
    table(columns, [[name, row["rps"], ratio(results, name, "nginx", "rps"), row["p99"], row["cpu"], load_share(row)]
                    for name, row in results.items()])
    others = {name: row["rps"] for name, row in results.items() if name != "slipway"}
    best = max(others, key=others.get, default=None)
    at_least(f"requests/s, of the best other, {best}", ratio(results, "slipway", best, "rps"), 1)
    at_least("requests/s, of CHP", ratio(results, "slipway", "CHP", "rps"), 12)
    at_most("p99, of nginx", ratio(results, "slipway", "nginx", "p99"), 1)
    for peer in proxies:
        peer.stop()


def rate(bed):
    """2. what one costs."""
    section("rate", f"CPU of each request at a fixed {RATE:,} requests a second, user and system, from /proc/PID/stat; CHP, which "
            f"does not carry as many, at {CHP_RATE:,}.")
    proxies = peers.started(bed, ["slipway", "nginx", "haproxy", "chp"], peers.replies(bed))
    wanted = lambda peer: CHP_RATE if peer.name == "CHP" else RATE
    measure = lambda peer: spent(peer, lambda: h2load(bed, [peer.url()], wanted(peer)), count)
    results = bed.rounds(proxies, measure)
    columns = [("proxy", ""), ("CPU µs a request", ".1f"), ("of nginx", ".2f"), ("requests/s", ",.0f"), LOAD_COLUMN]
    table(columns, [[name, row["cpu"], ratio(results, name, "nginx", "cpu"), row["rps"], load_share(row)]
                    for name, row in results.items()])
    at_most("CPU a request, of nginx", ratio(results, "slipway", "nginx", "cpu"), 1)
    for peer in proxies:
        peer.stop()
        reached = results[peer.name]["rps"] / wanted(peer)
        if reached < 0.98:
            print(f"- {peer.name} was asked for {wanted(peer):,} requests a second and was sent {reached:.0%} of them")


class Sized:
    """A proxy with so many routes."""

    def __init__(self, peer, routes, paths):
        self.name, self.measured, self.routes = f"{peer.name}, {routes:,} routes", peer.measured, routes
        self.peer = peer
        self.urls = [f"http://127.0.0.1:{peer.port}{path}" for path in paths]


def sized(bed, target):
    proxies = []
    for routes in map(bed.scaled, ROUTES):
        log = peers.seeded(bed, target, routes)
        step = max(1, routes // PATHS)
        paths = [f"/cluster-{100_000 + number}/" for number in range(0, routes, step)]
        proxies.append(Sized(peers.Slipway(bed, target, log), routes, paths))
    for routes in [] if "chp" in bed.args.without else map(bed.scaled, CHP_ROUTES):
        chp = peers.Chp(bed, target)
        chp.add(routes)
        proxies.append(Sized(chp, routes, [f"/user/u{number}/" for number in range(0, routes, max(1, routes // PATHS))]))
    return proxies


def routes(bed):
    """3. the same with many routes."""
    section("routes", f"{PATHS:,} paths spread over all routes, asked for in turn: CPU of each at {RATE:,} requests a second (CHP: "
            f"{CHP_RATE:,}), and as many as go.")
    proxies = sized(bed, peers.replies(bed))

    def measure(one):
        wanted = CHP_RATE if one.peer.name == "CHP" else RATE
        fixed = spent(one, lambda: h2load(bed, one.urls, wanted), count)
        return {"cpu": fixed["cpu"], "rps": h2load(bed, one.urls)["rps"], "resident": one.measured.resident()}

    results = bed.rounds(proxies, measure)
    columns = [("proxy", ""), ("CPU µs a request", ".1f"), ("requests/s", ",.0f"), ("resident MiB", ",.0f")]
    table(columns, [[name, row["cpu"], row["rps"], row["resident"]] for name, row in results.items()])
    of = [one for one in proxies if one.peer.name == "slipway"]
    at_most("CPU a request with most routes, of that with one", ratio(results, of[-1].name, of[0].name, "cpu"), 1.05)
    at_least("requests/s with most routes, of those with one", ratio(results, of[-1].name, of[0].name, "rps"), 0.95)
    for one in proxies:
        one.peer.stop()
