"""Loaded into `dask scheduler` as it starts: tells slipway its ports and serves ws:// beside tcp://.

Dask's own WebSocket listener ignores the host it is given and binds every interface, unless it shares
the port of the dashboard's server, which is bound where it was told. So it shares it.

It also tells who its workers are. Dask's own identity.json breaks off once a client has computed
something: the metrics in it have keys that JSON does not know.
"""

import json
import os

from tornado.web import RequestHandler

PLACE = os.environ["SLIPWAY_SCHEDULER_PLACE"]
CONFIG = os.environ["SLIPWAY_DASK_CONFIG"]
DASHBOARD = os.environ["SLIPWAY_DASHBOARD"]


class Workers(RequestHandler):
    def initialize(self, scheduler):
        self.scheduler = scheduler

    def get(self):
        workers = self.scheduler.workers.values()
        self.write({"workers": [{"name": str(w.name), "status": w.status.name} for w in workers]})


def put(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)


async def dask_setup(scheduler):
    asks = [(f"{DASHBOARD}/json/workers.json", Workers, {"scheduler": scheduler})]
    scheduler.http_application.add_handlers(r".*", asks)
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
