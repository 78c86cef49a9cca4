// graphile-worker, with the settings of its own performance test, on an empty database in DATABASE_URL.
const { Logger, makeWorkerUtils, run: work } = require("graphile-worker");
const { Pool } = require("pg");
const { run } = require("./load");

const logger = new Logger(() => () => {});
const preset = {
  worker: {
    concurrentJobs: 24,
    localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};

run(async (started) => {
  const pgPool = new Pool({ connectionString: process.env.DATABASE_URL, max: 50 });
  pgPool.on("error", console.error);
  pgPool.on("connect", (client) => client.on("error", console.error));
  const utils = await makeWorkerUtils({ pgPool, logger });
  await utils.migrate();
  const runner = await work({ preset, pgPool, logger, taskList: { job: started }, noHandleSignals: true });
  const left = "SELECT count(*)::int AS left FROM graphile_worker._private_jobs";
  return {
    enqueue: (number) => utils.addJob("job", { number }),
    left: async () => (await pgPool.query(left)).rows[0].left,
    stop: () => runner.stop(),
  };
});
