// What is the same for every queue of Node.js: `throughput SECONDS CLIENTS` and `latency SAMPLES`. Prints one line of JSON.

/** Jobs that wait or run at a time at most. */
const WAITING = 1000;
/** Before anything is measured: connections, prepared statements, compiled code. */
const WARM_UP_SECONDS = 2;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** `make` is given what to call when a job starts, and returns enqueue(number), left(), which counts unfinished jobs, and stop(). */
async function run(make) {
  const [scenario, ...numbers] = process.argv.slice(2);
  const room = [];
  let waiting = 0;
  let onStart = () => {};
  const queue = await make(() => {
    waiting -= 1;
    room.shift()?.();
    onStart(performance.now());
  });

  async function enqueue() {
    while (waiting >= WAITING) await new Promise((resolve) => room.push(resolve));
    waiting += 1;
    await queue.enqueue(Math.floor(Math.random() * 1e9));
  }

  async function jobsFor(seconds, clients) {
    const began = performance.now();
    const elapsed = () => (performance.now() - began) / 1000;
    let jobs = 0;
    const client = async () => {
      while (elapsed() < seconds) {
        await enqueue();
        jobs += 1;
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
    while ((await queue.left()) > 0) await sleep(10);
    return { jobs, seconds: elapsed() };
  }

  async function throughput(seconds, clients) {
    await jobsFor(WARM_UP_SECONDS, clients);
    return jobsFor(seconds, clients);
  }

  async function latency(samples) {
    const milliseconds = [];
    await sleep(1000);
    for (let sample = 0; sample < samples; sample += 1) {
      await sleep(20 + Math.random() * 40);
      const start = new Promise((resolve) => (onStart = resolve));
      const began = performance.now();
      await enqueue();
      milliseconds.push((await start) - began);
    }
    return { milliseconds };
  }

  const result = await { throughput, latency }[scenario](...numbers.map(Number));
  console.log(JSON.stringify(result));
  await queue.stop();
  process.exit(0);
}

module.exports = { run };
