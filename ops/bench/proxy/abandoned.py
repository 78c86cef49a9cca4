"""Clients that go away half way: what a proxy keeps of them."""

import os
import socket
import struct
import sys
import time

import peers
from report import at_most, section, table

CONNECTIONS = 200_000
# CHP takes so much longer.
CHP_SHARE = 0.1
AT_ONCE = 1_000
# A WebSocket whose client is gone without a word can only be found by asking.
WITHIN = 120
SOURCES, PER_SOURCE = 64, 2_000
# linux/tcp.h; a socket that is closed in this state says nothing to its peer, as a machine that was switched off.
TCP_REPAIR = 19

REQUEST = f"POST {peers.PATH}sink HTTP/1.1\r\nHost: localhost\r\n"
UPGRADE = (f"GET {peers.PATH}ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
NOTHING, HEAD, BODY, WEBSOCKET, SILENT = "nothing", "half a head", "half a body", "a WebSocket", "a WebSocket gone silent"
SENT = {
    NOTHING: "",
    HEAD: REQUEST + "X-Half: 1",
    BODY: f"{REQUEST}Content-Length: 1000\r\n\r\n{'x' * 500}",
    WEBSOCKET: UPGRADE,
    SILENT: UPGRADE,
}
# One in twenty is silent: those stay for as long as it takes to find out.
KINDS = [NOTHING, HEAD, BODY, WEBSOCKET] * 4 + [NOTHING, HEAD, BODY, SILENT]


def begin(port, number):
    """A connection, as far as it ever gets."""
    kind = KINDS[number % len(KINDS)]
    connection = socket.socket()
    connection.settimeout(30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.bind((f"127.0.0.{2 + number // PER_SOURCE % SOURCES}", 0))
    connection.connect(("127.0.0.1", port))
    connection.sendall(SENT[kind].encode())
    if kind in (WEBSOCKET, SILENT):
        head = connection.recv(4096)
        if b" 101 " not in head:
            sys.exit(f"a WebSocket was refused: {head[:200]}")
    return kind, connection


def abandon(number, kind, connection):
    if kind == SILENT:
        connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    elif number // len(KINDS) % 2:
        # Reset instead of closed.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def go_through(peer, numbers, most):
    """How many it came to: no more once the proxy has kept `most` sockets for as long as it may take to notice."""
    for first in range(numbers.start, numbers.stop, AT_ONCE):
        if settle(peer, most)[0] > most:
            return first - numbers.start
        batch = range(first, min(first + AT_ONCE, numbers.stop))
        opened = [(number, *begin(peer.port, number)) for number in batch]
        for one in opened:
            abandon(*one)
    return len(numbers)


def settle(peer, most):
    """Sockets once there are no more than so many, or when the time is over, and how long that took."""
    began = time.monotonic()
    while (left := peer.measured.sockets()) > most and time.monotonic() - began < WITHIN:
        time.sleep(0.25)
    return left, time.monotonic() - began


def once(bed, peer, count):
    peers.fetch(peer.url())
    before, resident = peer.measured.sockets(), peer.measured.resident()
    most = bed.most_connections
    done = go_through(peer, range(count // 10), most)
    settle(peer, before)
    tenth = peer.measured.resident()
    done += go_through(peer, range(count // 10, count), most)
    left, took = settle(peer, before)
    peers.fetch(peer.url())
    return {"count": done, "before": before, "left": max(0, left - before), "took": took, "resident": resident, "tenth": tenth,
            "after": peer.measured.resident()}


def abandoned(bed):
    """10. a day's abandoned connections."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except PermissionError:
        sys.exit("a client that is gone without a word takes the right to administer the network: run as root")
    section("abandoned", f"Connections that are opened and given up, {AT_ONCE:,} open at a time: nothing sent, half a head, half a body, "
            "a WebSocket, each closed or reset, and one in twenty a WebSocket whose client is gone without a FIN. What is left is "
            f"counted once it is no more than before, or after {WITHIN} s. CHP gets {CHP_SHARE:.0%} of them, as it takes too long "
            "for all.")
    upstream = bed.upstream()
    affinity = os.sched_getaffinity(0)
    os.sched_setaffinity(0, bed.load_cores)
    results = {}
    for peer in peers.started(bed, ["slipway", "chp"], upstream):
        results[peer.name] = once(bed, peer, bed.scaled(CONNECTIONS * (CHP_SHARE if peer.name == "CHP" else 1)))
        peer.stop()
    os.sched_setaffinity(0, affinity)
    columns = [("proxy", ""), ("connections", ",.0f"), ("sockets before", ",.0f"), ("left behind", ",.0f"), ("after s", ".1f"),
               ("MiB before", ".1f"), ("after a tenth", ".1f"), ("after all", ".1f")]
    keys = ["count", "before", "left", "took", "resident", "tenth", "after"]
    table(columns, [[name, *(row[key] for key in keys)] for name, row in results.items()])
    if "slipway" in results:
        at_most("sockets left behind", results["slipway"]["left"], 0)
        at_most("MiB that all but the first tenth left behind", results["slipway"]["after"] - results["slipway"]["tenth"], 4)
