// Puts the parts together: the session, the list of clusters, and what keeps both fresh.
import * as api from "./api.js";
import * as launch from "./launch.js";
import { asked, enter } from "./enter.js";
import { ClusterCard, EndedCard, isEnded } from "./cluster-card.js";
import { offered, order, setProfiles } from "./options.js";
import { $, plural, setText, showError } from "./dom.js";
import { watch } from "./watch.js";

const POLL = 15000;
const POLL_WHEN_CUT_OFF = 3000;

const clusters = new Map(); // id -> Cluster, as last told
const cards = new Map(); // id -> ClusterCard | EndedCard
const watchers = new Map(); // id -> { close, cut }
const asking = new Set(); // ids whose state is being fetched
let most = Infinity; // clusters per owner
let listFails = false;
let pollTimer = 0;

// --- the session ---------------------------------------------------------------------------

function setView(view) {
  $("main").dataset.view = view;
  $("code").hidden = view !== "code";
  $("start").hidden = view !== "start";
}

async function open(session) {
  most = session.limits?.clusters_per_owner ?? Infinity;
  setProfiles(session.profiles ?? []);
  if (session.subject === null) {
    setView("code");
    asked();
    return;
  }
  const known = await api.list();
  if (enter(known)) return;
  for (const cluster of known) take(cluster);
  if (!launch.isOpen()) launch.resume(known);
  if (!launch.isOpen()) atStart();
  draw();
  schedule();
}

async function load() {
  for (let attempt = 0; ; attempt++) {
    try {
      await open(await api.session());
      showError($("launch-error"), null);
      return;
    } catch (error) {
      setView("start");
      if (error.status === 401 || error.status === 403) return locked();
      showError($("launch-error"), { message: error.message, action: "Trying again by itself…" });
      await new Promise((again) => setTimeout(again, Math.min(10000, 1000 * 2 ** attempt)));
    }
  }
}

function locked() {
  if (launch.isOpen()) launch.leave(false);
  setView("code");
  $("access-code").focus();
}

$("code").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = $("access-code");
  const button = event.currentTarget.querySelector("button");
  const code = field.value.trim();
  const wrong = (error) => {
    field.setAttribute("aria-invalid", String(Boolean(error)));
    showError($("code-error"), error);
  };
  if (!code || button.getAttribute("aria-disabled") === "true") {
    if (!code) wrong({ message: "The access code is empty.", action: "Type it in, then continue." });
    field.focus();
    return;
  }
  button.setAttribute("aria-disabled", "true");
  try {
    const session = await api.enter(code);
    wrong(null);
    field.value = "";
    await open(session);
    $("launch").focus();
  } catch (error) {
    wrong(error);
    field.focus();
    field.select();
  } finally {
    button.removeAttribute("aria-disabled");
  }
});

// --- the button ----------------------------------------------------------------------------

const live = () => [...clusters.values()].filter((c) => !isEnded(c));

function atStart() {
  setView("start");
  const some = live().length > 0;
  $("main").dataset.has = some ? "some" : "none";
  document.querySelector(".scene").dataset.state = live().some((c) => c.status === "running") ? "moored" : "top";
  $("ship").style.setProperty("--t", 0);
  draw();
}

$("launch").addEventListener("click", () => {
  if ($("launch").getAttribute("aria-disabled") === "true") return;
  launch.press(order());
});

launch.setUp({
  order,
  locked,
  stop: askStop,
  started(cluster) {
    take(cluster);
    draw();
  },
  left: atStart,
});

function drawButton() {
  const button = $("launch");
  const count = live().length;
  const full = count >= most;
  button.disabled = false;
  button.setAttribute("aria-disabled", String(full));
  setText(button, count ? "Launch another cluster" : "Launch my cluster");
  $("what").hidden = full;
  $("options").hidden = full;
  $("profiles").hidden = full || !offered();
  setText($("full"), full ? `You have ${plural(count, "cluster")}, as many as one person can have here. Stop one to launch another.` : "");
}

// --- the clusters --------------------------------------------------------------------------

/** Takes in what the server says of one cluster. */
function take(cluster) {
  clusters.set(cluster.id, cluster);
  follow(cluster);
  launch.update(cluster);
}

function follow(cluster) {
  const { id } = cluster;
  if (isEnded(cluster)) {
    unfollow(id);
    return;
  }
  if (watchers.has(id)) return;
  const entry = { cut: false, close() {} };
  watchers.set(id, entry);
  const watcher = watch(id, {
    heard(event) {
      launch.heard(event);
      cards.get(id)?.heard?.(event);
      refresh(id);
    },
    queued(queue) {
      const known = clusters.get(id);
      if (known?.status !== "launching") return;
      clusters.set(id, { ...known, queue });
      launch.update(clusters.get(id));
      draw();
    },
    state(good) {
      entry.cut = !good;
      drawConnection();
      schedule();
    },
  });
  entry.close = watcher.close;
}

function unfollow(id) {
  watchers.get(id)?.close();
  watchers.delete(id);
}

/** Fetches one cluster soon: a burst of events asks once. */
function refresh(id) {
  if (asking.has(id)) return;
  asking.add(id);
  setTimeout(async () => {
    asking.delete(id);
    try {
      take(await api.get(id));
    } catch (error) {
      if (error.status === 404) drop(id);
    }
    draw();
  }, 80);
}

function drop(id) {
  unfollow(id);
  clusters.delete(id);
}

function draw() {
  const sorted = [...clusters.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
  for (const [id, card] of cards) {
    const cluster = clusters.get(id);
    if (cluster && isEnded(cluster) === card instanceof EndedCard) continue;
    if (card.root.contains(document.activeElement)) $("mine").focus({ preventScroll: true });
    card.root.remove();
    cards.delete(id);
  }
  const places = { live: 0, ended: 0 };
  for (const cluster of sorted) {
    const ended = isEnded(cluster);
    let card = cards.get(cluster.id);
    if (card) card.update(cluster);
    else {
      card = ended ? new EndedCard(cluster) : new ClusterCard(cluster, { stop: askStop, changed, refresh });
      cards.set(cluster.id, card);
    }
    const name = ended ? "ended" : "live";
    const here = $(name).children[places[name]++];
    if (here !== card.root) $(name).insertBefore(card.root, here ?? null);
  }
  $("empty").hidden = places.live > 0;
  setText($("empty"), places.ended ? "None running now." : "None yet. Yours will float here once it is launched.");
  $("past").hidden = places.ended === 0;
  if (!launch.isOpen() && $("main").dataset.view === "start") drawButton();
}

function changed(cluster) {
  take(cluster);
  draw();
}

// --- stopping, with a question first -------------------------------------------------------

const LOSES_FILES = "Its notebook and workers go away, with every file in them. Download what you want to keep first.";
const STILL_EMPTY = "It is still starting, so nothing of yours is in it yet.";
let stopping = null;

function askStop(id) {
  stopping = id;
  setText($("confirm-title"), `Stop ${id}?`);
  setText($("confirm-text"), clusters.get(id)?.status === "launching" ? STILL_EMPTY : LOSES_FILES);
  $("confirm").showModal();
}

$("confirm-keep").addEventListener("click", () => $("confirm").close());
$("confirm").addEventListener("click", (event) => event.target === $("confirm") && $("confirm").close());
$("confirm-stop").addEventListener("click", async () => {
  const id = stopping;
  $("confirm").close();
  try {
    changed(await api.stop(id));
  } catch (error) {
    cards.get(id)?.failed?.(error);
    refresh(id);
  }
});

// --- staying fresh -------------------------------------------------------------------------

const cutOff = () => listFails || [...watchers.values()].some((w) => w.cut);

function drawConnection() {
  const words = navigator.onLine === false ? "Offline. Your clusters run on." : cutOff() ? "Reconnecting…" : "";
  setText($("connection"), words);
}

function schedule() {
  clearTimeout(pollTimer);
  pollTimer = setTimeout(poll, cutOff() ? POLL_WHEN_CUT_OFF : POLL);
}

async function poll() {
  if (document.visibilityState === "visible" && $("main").dataset.view !== "code") {
    try {
      const told = await api.list();
      listFails = false;
      const ids = new Set(told.map((c) => c.id));
      for (const id of [...clusters.keys()]) if (!ids.has(id) && id !== launch.current()) drop(id);
      for (const cluster of told) take(cluster);
      draw();
    } catch (error) {
      listFails = error.status !== 401 && error.status !== 403;
      if (!listFails) locked();
    }
    drawConnection();
  }
  schedule();
}

setInterval(() => document.visibilityState === "visible" && cards.forEach((card) => card.tick()), 10000);
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && clusters.size && poll());
addEventListener("online", poll);
addEventListener("offline", drawConnection);
addEventListener("pagehide", () => [...watchers.keys()].forEach(unfollow));
addEventListener("pageshow", (event) => {
  if (!event.persisted) return; // back from the notebook, out of the browser's cache
  if (launch.isOpen()) launch.leave(false);
  poll();
});

load();
