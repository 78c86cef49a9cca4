"""Spark's standalone mode: settings that daemons, drivers and executors share, and the daemons' commands."""

import sysconfig
from pathlib import Path

from . import files, memory

MASTER_PORT = 7077
MASTER_UI_PORT = 8080
WORKER_UI_PORT = 8081

HOME = Path(sysconfig.get_path("purelib")) / "pyspark"


def settings(told):
    heap = memory.executor_heap(told.worker_memory, told.engines)
    return {
        "spark.master": f"spark://{told.scheduler}:{MASTER_PORT}",
        "spark.driver.host": told.ip,
        "spark.driver.bindAddress": told.ip,
        "spark.driver.memory": f"{memory.driver_heap(told.memory) // memory.MIB}m",
        # It plans and waits. The second compiler costs as much processor time as all of its start besides.
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        "spark.executor.extraJavaOptions": "-XX:+UseSerialGC",
        "spark.executor.memory": f"{heap // memory.MIB}m",
        # All of a worker's: one executor each.
        "spark.executor.cores": str(told.cpus),
        "spark.authenticate": "true",
        "spark.authenticate.secret": told.secret("engine-key"),
        # It knows no authentication.
        "spark.master.rest.enabled": "false",
        # Pages of workers and applications are reached through the master's.
        "spark.ui.reverseProxy": "true",
        "spark.ui.reverseProxyUrl": told.spark_ui,
        "spark.ui.showConsoleProgress": "false",
        # Executors go after a minute without work, as Dask may want their memory, and come to workers that are added.
        "spark.dynamicAllocation.enabled": "true",
        # Blocks are handed over instead, as an executor that is only remembered for them would never go.
        "spark.dynamicAllocation.shuffleTracking.enabled": "false",
        # Some come at once: the JVM starts while the student still writes.
        "spark.dynamicAllocation.initialExecutors": "2",
        "spark.dynamicAllocation.executorIdleTimeout": "60s",
        "spark.dynamicAllocation.cachedExecutorIdleTimeout": "20min",
        # A worker that leaves hands its blocks over first.
        "spark.decommission.enabled": "true",
        "spark.storage.decommission.enabled": "true",
        # It looks that often whether all are, every half a minute if not told.
        "spark.storage.decommission.replicationReattemptInterval": "2s",
        "spark.worker.cleanup.enabled": "true",
        "spark.sql.shuffle.partitions": "16",
        "spark.sql.warehouse.dir": str(told.home / "spark-warehouse"),
    }


def write_files(told):
    folder = told.run / "spark"
    lines = "".join(f"{name} {value}\n" for name, value in settings(told).items())
    files.put(folder / "spark-defaults.conf", lines, 0o600)
    files.put(folder / "log4j2.properties", LOGGING)


LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
"""


def environment(told):
    return {
        "SPARK_HOME": str(HOME),
        "SPARK_CONF_DIR": str(told.run / "spark"),
        "SPARK_LOCAL_IP": told.ip,
        "SPARK_LOCAL_DIRS": "/tmp",
        "PYSPARK_PYTHON": "/opt/venv/bin/python",
        # The daemons only keep accounts.
        "SPARK_DAEMON_MEMORY": "128m",
        "SPARK_DAEMON_JAVA_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss512k -XX:ReservedCodeCacheSize=32m",
    }


def daemon(name, *arguments):
    return [str(HOME / "bin/spark-class"), f"org.apache.spark.deploy.{name}", *arguments]


def master(told):
    return daemon(
        "master.Master",
        "--host",
        told.ip,
        "--port",
        str(MASTER_PORT),
        "--webui-port",
        str(MASTER_UI_PORT),
    )


def worker(told):
    heap = memory.executor_heap(told.memory, told.engines)
    return daemon(
        "worker.Worker",
        "--host",
        told.ip,
        "--webui-port",
        str(WORKER_UI_PORT),
        "--cores",
        str(told.cpus),
        # One executor of the usual size fits.
        "--memory",
        f"{heap // memory.MIB}M",
        "--work-dir",
        str(told.run / "spark-work"),
        f"spark://{told.scheduler}:{MASTER_PORT}",
    )
