"""What the container is told by its environment."""

import os
from dataclasses import dataclass
from pathlib import Path

ENGINES = ("dask", "ipyparallel", "spark")


class Invalid(Exception):
    """The environment does not say what it must."""


@dataclass(frozen=True)
class Settings:
    cluster: str
    pod: str
    """The pod's name, by which Dask knows its worker."""
    ip: str
    scheduler: str
    """The name by which workers find the scheduler's pod."""
    engines: frozenset
    cpus: int
    memory: int
    worker_memory: int
    """What a worker's container may use. The scheduler's must know: it is the driver who says how large executors are."""
    materials: tuple
    home: Path = Path("/home/student")
    run: Path = Path("/tmp/slipway")
    secrets: Path = Path("/run/slipway")
    code: Path = Path(__file__).resolve().parent.parent

    @property
    def dashboard(self):
        return f"/{self.cluster}_9001"

    @property
    def spark_ui(self):
        return f"/{self.cluster}_9002"

    def secret(self, name):
        return (self.secrets / name).read_text().strip()


def parse(environment):
    def must(name):
        value = environment.get(name, "").strip()
        if not value:
            raise Invalid(f"{name} is not set")
        return value

    def number(name, least):
        text = must(name)
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise Invalid(f"{name} must be a whole number of at least {least}, and is {text!r}")
        return int(text)

    engines = frozenset(filter(None, must("SLIPWAY_ENGINES").split(",")))
    if unknown := engines - set(ENGINES):
        raise Invalid(f"SLIPWAY_ENGINES names {', '.join(sorted(unknown))}; there are {', '.join(ENGINES)}")
    memory = number("SLIPWAY_MEMORY", 1)
    return Settings(
        cluster=must("SLIPWAY_CLUSTER"),
        pod=must("HOSTNAME"),
        ip=must("SLIPWAY_POD_IP"),
        scheduler=must("SLIPWAY_SCHEDULER"),
        engines=engines | {"dask"},
        cpus=number("SLIPWAY_CPUS", 1),
        memory=memory,
        worker_memory=number("SLIPWAY_WORKER_MEMORY", 1) if "SLIPWAY_WORKER_MEMORY" in environment else memory,
        materials=tuple(environment.get("SLIPWAY_MATERIALS", "").split()),
    )


def read():
    return parse(os.environ)
