"""Procrastinate on an empty database in DATABASE_URL: `throughput SECONDS CLIENTS` or `latency SAMPLES`. Prints one line of JSON."""

import asyncio
import json
import os
import random
import sys
import time

import procrastinate
import psycopg

# Jobs that wait or run at a time at most.
WAITING = 1000
WARM_UP_SECONDS = 2
CONCURRENCY = 20

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ["DATABASE_URL"], min_size=20, max_size=50))
room = asyncio.Semaphore(WAITING)
starts = asyncio.Queue()


@app.task(name="job")
async def job(number):
    room.release()
    starts.put_nowait(time.perf_counter())


async def enqueue():
    await room.acquire()
    await job.defer_async(number=random.randrange(1_000_000_000))


async def jobs_for(seconds, clients):
    began, jobs = time.perf_counter(), 0

    async def client():
        nonlocal jobs
        while time.perf_counter() - began < seconds:
            await enqueue()
            jobs += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        while True:
            left = await connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE status <> 'succeeded'")
            if (await left.fetchone())[0] == 0:
                return {"jobs": jobs, "seconds": time.perf_counter() - began}
            await asyncio.sleep(0.01)


async def throughput(seconds, clients):
    await jobs_for(WARM_UP_SECONDS, clients)
    return await jobs_for(seconds, clients)


async def latency(samples):
    times = []
    await asyncio.sleep(1)
    for _ in range(samples):
        await asyncio.sleep(random.uniform(0.02, 0.06))
        began = time.perf_counter()
        await enqueue()
        times.append((await starts.get() - began) * 1000)
    return {"milliseconds": times}


async def main(scenario, *numbers):
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        worker = asyncio.create_task(app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False))
        result = await {"throughput": throughput, "latency": latency}[scenario](*map(int, numbers))
        print(json.dumps(result))
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


asyncio.run(main(*sys.argv[1:]))
