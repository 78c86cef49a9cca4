"""The files that the engines read: the cluster's own names and secrets, written at each start, as the image is read-only."""

import json
import os
import shutil

from . import ipython, spark

WELCOME = {"dask": "welcome-dask.ipynb", "ipyparallel": "welcome-ipyparallel.ipynb", "spark": "welcome-spark.ipynb"}


def prepare(told, mode):
    for folder in (told.run, kept(told)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    dask_files(told, mode)
    if "ipyparallel" in told.engines:
        ipython.write_files(told, mode)
    if "spark" in told.engines:
        spark.write_files(told)
    if mode == "scheduler":
        jupyter_files(told)
        welcome(told)


def kept(told):
    """Where the student's folder remembers what was done to it."""
    return told.home / ".slipway"


def put(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    with open(new, "w", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(text)
    os.replace(new, path)


def dask_files(told, mode):
    folder = told.run / "dask"
    put(folder / "slipway.yaml", (told.code / "dask.yaml").read_text())
    host = told.ip if mode == "scheduler" else told.scheduler
    # The scheduler writes it anew as it starts; until then Client() waits for it there.
    put(folder / "address.yaml", f'scheduler-address: "tcp://{host}:8786"\n')


def jupyter_files(told):
    folder = told.run / "jupyter"
    put(folder / "jupyter_server_config.py", (told.code / "jupyter_server_config.py").read_text())
    put(folder / "labconfig/default_setting_overrides.json", json.dumps(lab_settings(told)))
    put(
        folder / "labconfig/page_config.json",
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}),
    )


def lab_settings(told):
    """As src/runtime/local/launch.rs has them."""
    return {
        "dask-labextension:plugin": {
            "defaultURL": told.dashboard,
            "browserDashboardCheck": True,
            "hideClusterManager": True,
        },
        "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    }


def welcome(told):
    """Only once: whoever deleted one does not want it back."""
    done = kept(told) / "welcomed"
    if done.exists():
        return
    for engine, name in WELCOME.items():
        if engine in told.engines and not (told.home / name).exists():
            shutil.copyfile(told.code / name, told.home / name)
    done.touch()


def engine_environment(told):
    """What every engine, kernel and terminal finds in its environment."""
    return {
        **os.environ,
        "DASK_CONFIG": str(told.run / "dask"),
        "DASK_TEMPORARY_DIRECTORY": str(told.run),
        "JUPYTER_CONFIG_PATH": str(told.run / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(told.run / "jupyter-run"),
        **spark.environment(told),
    }


def worker_threads():
    """What Dask's nanny would set for a worker: it has none."""
    return {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_TRIM_THRESHOLD_": "65536",
    }
