// pg-boss, on an empty database in DATABASE_URL.
const PgBoss = require("pg-boss");
const { run } = require("./load");

const QUEUE = "bench";
const WORKERS = 4;
// Half a second is the least that it takes.
const OPTIONS = { pollingIntervalSeconds: 0.5, batchSize: 200 };

run(async (started) => {
  const boss = new PgBoss({ connectionString: process.env.DATABASE_URL, max: 50, supervise: false, schedule: false });
  boss.on("error", console.error);
  await boss.start();
  await boss.createQueue(QUEUE);
  for (let worker = 0; worker < WORKERS; worker += 1) {
    const id = await boss.work(QUEUE, OPTIONS, async (jobs) => {
      jobs.forEach(started);
      // There may be more: it looks again at once.
      boss.notifyWorker(id);
    });
  }
  return {
    enqueue: (number) => boss.send(QUEUE, { number }),
    left: () => boss.getQueueSize(QUEUE, { before: "completed" }),
    stop: () => boss.stop({ graceful: false }),
  };
});
