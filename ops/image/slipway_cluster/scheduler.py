"""The scheduler's container: the notebook server and the engines' heads."""

import asyncio

from . import files, ipython, spark
from .materials import Materials
from .network import connectable
from .supervisor import Engine


class Scheduler:
    def __init__(self, told, supervisor, processes):
        self.told = told
        self.supervisor = supervisor
        self.materials = Materials(told, processes)
        self.notebook = None

    async def start(self):
        told = self.told
        environment = files.engine_environment(told)
        home = str(told.home)
        # A file rather than JUPYTER_TOKEN: every kernel and terminal would show that one in its environment.
        token = {"JUPYTER_TOKEN_FILE": str(told.secrets / "notebook-token")}
        self.notebook = Engine("notebook", notebook(told), {**environment, **token}, home)
        self.supervisor.keep(self.notebook)
        dask = {
            "SLIPWAY_SCHEDULER_PLACE": str(told.run / "scheduler.json"),
            "SLIPWAY_DASK_CONFIG": str(told.run / "dask/address.yaml"),
            "SLIPWAY_DASHBOARD": told.dashboard,
            "SLIPWAY_MATERIALS_STATE": str(self.materials.state),
        }
        self.supervisor.keep(Engine("dask", scheduler(told), {**environment, **dask}, str(told.run)))
        self.fetching = asyncio.ensure_future(self.materials.fetch())

        async def after_the_notebook():
            # What the student waits for comes first; no longer than this, as the notebook may be what fails.
            await connectable(told.ip, 8888, within=15)

        if "ipyparallel" in told.engines:
            engine = Engine("ipython", ipython.controller(told), environment, home, after_the_notebook)
            self.supervisor.keep(engine)
        if "spark" in told.engines:
            engine = Engine("spark", spark.master(told), environment, home, after_the_notebook, nice=5)
            self.supervisor.keep(engine)

    async def leave(self):
        # Only the notebook server is asked, as it has its kernels end in order.
        await self.supervisor.end(asked=[self.notebook], patience=1.5)


def notebook(told):
    return [
        "jupyter-lab",
        "--no-browser",
        "--log-level=WARN",
        f"--ServerApp.base_url=/{told.cluster}/",
        "--ServerApp.ip=0.0.0.0",
        "--ServerApp.port=8888",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={told.home}",
        "--ServerApp.allow_remote_access=True",
        "--ServerApp.trust_xheaders=True",
        "--ServerApp.quit_button=False",
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]


def scheduler(told):
    return [
        "dask",
        "scheduler",
        "--host",
        told.ip,
        "--port",
        "8786",
        "--dashboard-address",
        "0.0.0.0:8787",
        "--dashboard-prefix",
        told.dashboard,
        "--preload",
        str(told.code / "scheduler_preload.py"),
        "--preload",
        str(told.code / "materials_preload.py"),
    ]
