"""How a worker's engines share its container's memory.

What stands idle is subtracted; of the rest, Dask may have all and a Spark executor a good part. Both at once do not fit: who
computes with one lets the other idle, and Spark gives idle executors up after a minute.
"""

MIB = 1 << 20

# Measured: this supervisor and the IPython engine, Spark's worker, and Dask's worker without data.
SUPERVISOR = 24 * MIB
ENGINE = 80 * MIB
SPARK_WORKER = 200 * MIB
DASK_IDLE = 130 * MIB

# Spark refuses less.
LEAST_EXECUTOR = 450 * MIB


def beside_dask(engines):
    return SUPERVISOR + (ENGINE if "ipyparallel" in engines else 0) + (SPARK_WORKER if "spark" in engines else 0)


def dask_limit(memory, engines):
    """Dask spills at 70 % and pauses at 80 % of this."""
    return max(memory - beside_dask(engines), memory // 3)


def executor_heap(memory, engines):
    """The rest is for the executor's own needs beside its heap, and for its Python processes."""
    left = memory - beside_dask(engines) - DASK_IDLE
    return max(left * 55 // 100, LEAST_EXECUTOR) // MIB * MIB


def driver_heap(memory):
    """Of the scheduler's container, which has the notebook's kernels and the engines' heads as well."""
    return min(max(memory // 4, LEAST_EXECUTOR), 1024 * MIB) // MIB * MIB
