// From the press of the button to the open notebook: the panel with the clock, the lines and the ship.
import * as api from "./api.js";
import { $, minutes, safeUrl, setLink, setText, showError } from "./dom.js";

const LAUNCHING = "slipway.launching"; // survives a reload of this tab
const AUTO = "slipway.auto";
const OPENS_AFTER = 1200;

const scene = document.querySelector(".scene");
const ship = $("ship");
let phase = "idle"; // idle, asking, launching, ready, failed
let id = null;
let body = null;
let started = 0;
let clockTimer = 0;
let openTimer = 0;
let steps = 0;
let hooks = { started() {}, left() {} };

export const isOpen = () => phase !== "idle";
export const current = () => id;

export function setUp(given) {
  hooks = given;
  $("panel-again").addEventListener("click", () => press(body ?? given.order()));
  $("panel-back").addEventListener("click", () => leave(true));
  $("panel-stay").addEventListener("click", stay);
  $("panel-cancel").addEventListener("click", () => id && hooks.stop(id, $("panel-cancel")));
  document.addEventListener("keydown", (event) => event.key === "Escape" && openTimer && stay());
  try {
    $("auto").checked = localStorage.getItem(AUTO) !== "no";
    $("auto").addEventListener("change", () => localStorage.setItem(AUTO, $("auto").checked ? "yes" : "no"));
  } catch {
    // storage is off: the box starts checked
  }
}

function show(names) {
  for (const name of ["panel-open", "panel-again", "panel-stay", "panel-back", "panel-cancel"]) $(name).hidden = !names.includes(name);
  $("auto-row").hidden = phase === "ready" || phase === "failed";
}

function sail(t) {
  ship.style.setProperty("--t", t.toFixed(3));
}

function begin(title) {
  clearTimeout(openTimer);
  openTimer = 0;
  steps = 0;
  $("lines").replaceChildren();
  showError($("panel-error"), null);
  setText($("panel-title"), title);
  setText($("panel-note"), "Asking for a cluster…");
  scene.dataset.state = "top";
  sail(0);
  $("main").dataset.view = "panel";
  $("panel").hidden = false;
  $("start").hidden = true;
  clearInterval(clockTimer);
  clockTimer = setInterval(tick, 250);
  tick();
}

function tick() {
  setText($("clock"), minutes((api.now() - started) / 1000));
}

/** The button was pressed. */
export async function press(wanted) {
  if (phase === "asking" || phase === "launching") return; // a double click
  phase = "asking";
  body = wanted;
  id = null;
  started = api.now();
  begin("Launching your cluster");
  show([]);
  $("panel-title").focus({ preventScroll: true });
  document.title = "Launching… · slipway";
  try {
    const cluster = await api.launch(body, (error) => setText($("panel-note"), `${error.message} Trying again…`));
    follow(cluster);
  } catch (error) {
    if (error.status === 401 || error.code === "access_code_required") {
      leave(false);
      hooks.locked();
      return;
    }
    fail(error, "Your cluster was not launched");
  }
}

const GOES_ON = "It goes on even if you close this page.";

/** The place in line, for as long as there is one; a line of the progress means that it is over. */
function showQueue(queue) {
  setText($("panel-note"), queue ? `${queue.summary}. You keep your place even if you close this page.` : GOES_ON);
}

function follow(cluster) {
  phase = "launching";
  id = cluster.id;
  api.remember(LAUNCHING, id);
  showQueue(cluster.queue);
  show(["panel-cancel"]);
  hooks.started(cluster);
}

/** After a reload: the launch that this tab was waiting for. */
export function resume(clusters) {
  const kept = api.recall(LAUNCHING);
  const cluster = kept && clusters.find((c) => c.id === kept);
  if (!cluster || cluster.status !== "launching") {
    api.remember(LAUNCHING, null);
    return;
  }
  started = Date.parse(cluster.created_at) || api.now();
  begin("Launching your cluster");
  follow(cluster);
}

/** One event of any cluster; this panel shows those of its own. */
export function heard(event) {
  if (event.cluster !== id || phase === "idle") return;
  if (event.type === "Scaled" && phase === "ready") return;
  const line = document.createElement("li");
  line.dataset.testid = "progress-line";
  line.dataset.type = event.type;
  const seconds = document.createElement("span");
  seconds.className = "seconds";
  seconds.textContent = `${event.elapsed_seconds.toFixed(1)} s`;
  const summary = document.createElement("span");
  summary.textContent = event.summary;
  line.append(seconds, " ", summary);
  $("lines").append(line);
  const box = $("lines").parentElement;
  box.scrollTop = box.scrollHeight;
  steps += 1;
  if (phase !== "launching") return;
  if (event.type === "Admitted") showQueue(null);
  scene.dataset.state = "ramp";
  sail(0.94 * (1 - Math.exp(-steps / 4)));
}

/** What the server says of the cluster now; the panel waits for `running` or for an end. */
export function update(cluster) {
  if (cluster.id !== id || phase !== "launching") return;
  showQueue(cluster.queue);
  if (cluster.status === "running" && safeUrl(cluster.url)) arrive(cluster);
  else if (cluster.status === "failed") fail({ message: cluster.reason ?? "It did not start.", action: "Try again; if it fails once more, tell whoever runs this session." }, "Your cluster did not start");
  else if (cluster.status === "stopping" || cluster.status === "stopped") fail({ message: cluster.reason ?? "It was stopped before it was ready.", action: "" }, "Launch cancelled");
}

function arrive(cluster) {
  phase = "ready";
  clearInterval(clockTimer);
  setText($("clock"), minutes((Date.parse(cluster.ready_at ?? "") - Date.parse(cluster.created_at)) / 1000 || (api.now() - started) / 1000));
  api.remember(LAUNCHING, null); // the way back must not send them forward again
  scene.dataset.state = "afloat";
  document.title = "Ready · slipway";
  setLink($("panel-open"), cluster.url);
  if (!$("auto").checked) {
    settle();
    return;
  }
  setText($("panel-title"), "Opening your notebook…");
  setText($("panel-note"), "If nothing happens, use the button.");
  show(["panel-open", "panel-stay"]);
  openTimer = setTimeout(() => {
    openTimer = 0;
    location.assign(safeUrl(cluster.url));
  }, OPENS_AFTER);
}

function stay() {
  clearTimeout(openTimer);
  openTimer = 0;
  const hadFocus = document.activeElement === $("panel-stay");
  settle();
  if (hadFocus) $("panel-open").focus();
}

function settle() {
  setText($("panel-title"), "Your cluster is ready");
  setText($("panel-note"), "It is in the list below too.");
  show(["panel-open", "panel-back"]);
}

function fail(error, title) {
  phase = "failed";
  clearInterval(clockTimer);
  api.remember(LAUNCHING, null);
  document.title = "slipway";
  setText($("panel-title"), title);
  setText($("panel-note"), "");
  showError($("panel-error"), error);
  scene.dataset.state = "stuck";
  const cancel = document.activeElement === $("panel-cancel");
  show(["panel-again", "panel-back"]);
  if (cancel) $("panel-title").focus({ preventScroll: true });
}

/** Back to the button. */
export function leave(focus) {
  clearTimeout(openTimer);
  clearInterval(clockTimer);
  openTimer = 0;
  phase = "idle";
  id = null;
  document.title = "slipway";
  $("panel").hidden = true;
  $("start").hidden = false;
  hooks.left();
  if (focus) $("launch").focus();
}
