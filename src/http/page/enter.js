// Somebody was sent here from a cluster's address: with a session it may open, so it is tried once; else this explains.
import * as api from "./api.js";
import { $, setText } from "./dom.js";

const TRIED = "slipway.entered";
const wanted = new URLSearchParams(location.search).get("enter") ?? "";
const path = /^\/cluster-\d{6,12}(_[a-z0-9-]+)?(\/|$)/.test(wanted) ? wanted : null;
const name = path?.match(/cluster-\d+/)[0];

/** While an access code is asked for. */
export function asked() {
  if (path) show(`${name} asks who you are.`, "Give the access code first.");
}

/** Once there is a session. True if the page is being left. */
export function enter(clusters) {
  if (!path) return false;
  const mine = clusters.find((cluster) => cluster.id === name);
  if (mine && mine.status !== "running") {
    show(`${name} is not running.`, "It opens when it is ready.");
    return false;
  }
  // A second refusal comes back here within a moment: then it is not ours to enter.
  const [tried, at] = (api.recall(TRIED) ?? "").split(" ");
  if (tried !== path || Date.now() - Number(at) > 10000) {
    api.remember(TRIED, `${path} ${Date.now()}`);
    location.replace(path); // as it was in the address, with whatever is encoded in it
    return true;
  }
  api.remember(TRIED, null);
  show(`${name} is not open to you.`, "It is somebody else's, or the link that brought you here has ended. Ask its owner for a share link.");
  return false;
}

function show(what, next) {
  const box = $("enter");
  const strong = document.createElement("strong");
  setText(strong, what);
  box.replaceChildren(strong, " ", next);
  box.hidden = false;
}
