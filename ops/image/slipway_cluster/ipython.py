"""IPython Parallel: connection files that both sides make for themselves, so that none has to be carried over."""

import json

from . import files

# On the scheduler's pod: what engines connect to, then what clients do. Registration is for both.
REGISTRATION = 10101
ENGINE_PORTS = {"control": 10102, "mux": 10103, "task": 10104, "iopub": 10105, "hb_ping": 10106, "hb_pong": 10107}
ENGINE_BROADCAST = 10108
CLIENT_PORTS = {"control": 10109, "mux": 10110, "task": 10111, "iopub": 10112, "notification": 10113, "broadcast": 10114}


def common(told, host):
    return {
        "ssh": "",
        "interface": f"tcp://{host}",
        "location": host,
        "registration": REGISTRATION,
        "key": told.secret("engine-key"),
        "curve_serverkey": None,
        "pack": "json",
        "unpack": "json",
        "signature_scheme": "hmac-sha256",
    }


def engine_file(told, host):
    return {**common(told, host), **ENGINE_PORTS, "broadcast": [ENGINE_BROADCAST]}


def client_file(told, host):
    return {**common(told, host), **CLIENT_PORTS, "task_scheme": "leastload"}


def security(told):
    """Where ipyparallel.Client() looks when it is told nothing."""
    return told.home / ".ipython/profile_default/security"


def write_files(told, mode):
    host = told.ip if mode == "scheduler" else told.scheduler
    files.put(security(told) / "ipcontroller-engine.json", json.dumps(engine_file(told, host)), 0o600)
    files.put(security(told) / "ipcontroller-client.json", json.dumps(client_file(told, host)), 0o600)


def controller(told):
    return [
        "ipcontroller",
        # Ports and key are those of the files.
        "--reuse",
        "--log-level=WARN",
        # One process rather than three to spread what goes to all engines: they are not that many.
        "--IPController.broadcast_scheduler_depth=0",
        # An engine that is gone without a word is known to be after 6 s, not 30.
        "--HeartMonitor.period=2000",
        "--HeartMonitor.max_heartmonitor_misses=3",
    ]


def engine(told):
    return [
        "ipengine",
        "--log-level=WARN",
        f"--file={security(told) / 'ipcontroller-engine.json'}",
        f"--IPEngine.startup_script={told.code / 'engine_startup.py'}",
        # A second Python for each engine, only to pass signals on.
        "--IPEngine.enable_nanny=False",
        "--timeout=30",
        # A controller that restarts does not know its engines any more: they register again.
        "--IPEngine.max_heartbeat_misses=4",
    ]
