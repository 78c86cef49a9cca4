"""Loaded into `dask scheduler` as it starts: tells slipway its ports and serves ws:// beside tcp://.

Dask's own WebSocket listener ignores the host it is given and binds every interface, unless it shares
the port of the dashboard's server, which is bound where it was told. So it shares it.
"""

import json
import os

PLACE = os.environ["SLIPWAY_SCHEDULER_PLACE"]
CONFIG = os.environ["SLIPWAY_DASK_CONFIG"]


def put(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)


async def dask_setup(scheduler):
    host, port = scheduler.ip, scheduler.http_server.port
    shown = f"[{host}]" if ":" in host else host
    await scheduler.listen(
        f"ws://{shown}:{port}",
        allow_offload=False,
        handshake_overrides={"pickle-protocol": 4, "compression": None},
    )
    # Every kernel reads this as it starts, so that Client() needs no argument, also after a move.
    put(CONFIG, f'scheduler-address: "{scheduler.address}"\n')
    comm = int(scheduler.address.rsplit(":", 1)[1])
    put(PLACE, json.dumps({"pid": os.getpid(), "comm": comm, "web": port}))
