// Follows one cluster's events. The browser reconnects by itself (with Last-Event-ID); where it gives up,
// because a restarting server answered with an error, this opens a new stream and skips what was seen.
import { eventsPath } from "./api.js";

export function watch(id, { heard, queued, state }) {
  let source = null;
  let timer = 0;
  let wait = 1000;
  const seen = new Set(); // positions: a new stream starts from the beginning
  let done = false;

  function open() {
    source = new EventSource(eventsPath(id));
    source.onopen = () => {
      wait = 1000;
      state(true);
    };
    source.onmessage = (message) => {
      let event;
      try {
        event = JSON.parse(message.data);
      } catch {
        return;
      }
      if (seen.has(event.position)) return;
      seen.add(event.position);
      if (event.type === "Removed") close(); // the server ends the stream here: do not come back
      heard(event);
    };
    source.addEventListener("queue", (message) => {
      try {
        queued(JSON.parse(message.data));
      } catch {
        // a place that cannot be read is told again when it changes
      }
    });
    source.onerror = () => {
      if (done) return;
      state(false);
      if (source.readyState !== EventSource.CLOSED) return;
      clearTimeout(timer);
      timer = setTimeout(open, wait * (0.8 + Math.random() * 0.4));
      wait = Math.min(15000, wait * 2);
    };
  }

  function close() {
    done = true;
    clearTimeout(timer);
    source?.close();
    state(true);
  }

  open();
  return { close };
}
