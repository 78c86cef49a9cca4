"""Large bodies, both ways."""

import peers
from bed import spent
from report import LOAD_COLUMN, at_least, at_most, load_share, ratio, section, table

GIBIBYTE = 1 << 30


def curl(bed, *words):
    """MB/s that curl saw."""
    out, load = bed.load(["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{speed_download} %{speed_upload}", *words])
    return max(map(float, out.split())) / 1e6, load


def body(bed):
    """4. a gigabyte each way."""
    size = bed.scaled(GIBIBYTE)
    section("body", f"A body of {size / 1e6:,.0f} MB each way by curl; memory is what the proxy holds at most meanwhile, and how "
            "much more than before.")
    upstream = bed.upstream()
    file = bed.folder / "body"
    with open(file, "wb") as sparse:
        sparse.truncate(size)
    proxies = peers.started(bed, ["slipway", "nginx"], upstream)

    def way(peer, *words):
        before = peer.measured.resident()
        peer.measured.forget_peak()
        result = spent(peer, lambda: dict(zip(["speed", "load"], curl(bed, *words))), lambda _: size / 1e6)
        return {**result, "peak": peer.measured.peak(), "more": peer.measured.peak() - before}

    def measure(peer):
        down, up = way(peer, peer.url(f"bytes/{size}")), way(peer, "-T", file, peer.url("sink"))
        both = {f"{name}_{key}": way[key] for name, way in [("down", down), ("up", up)] for key in ["speed", "cpu", "peak", "more"]}
        return {**both, **down["load"]}

    results = bed.rounds(proxies, measure)
    columns = [("proxy", ""), ("down MB/s", ",.0f"), ("up MB/s", ",.0f"), ("CPU µs/MB down", ".0f"), ("up", ".0f"),
               ("most memory MiB down", ".1f"), ("up", ".1f"), LOAD_COLUMN]
    keys = ["down_speed", "up_speed", "down_cpu", "up_cpu", "down_peak", "up_peak"]
    table(columns, [[name, *(row[key] for key in keys), load_share(row)] for name, row in results.items()])
    for name, key in [("down", "down_speed"), ("up", "up_speed")]:
        at_least(f"MB/s {name}, of nginx", ratio(results, "slipway", "nginx", key), 0.95)
    at_most("MiB that the body takes", max(results["slipway"]["down_more"], results["slipway"]["up_more"]), 4)
    for peer in proxies:
        peer.stop()
