// One cluster as a card: made once, then updated in place so that focus and a held slider survive.
import * as api from "./api.js";
import { at, copyText, joinScale, plural, setLink, setLinks, setText, showError, span, stamp } from "./dom.js";
import { profileTitle } from "./options.js";
import { Sharing } from "./shares.js";

const STATUS = { launching: "Launching", running: "Running", stopping: "Stopping", failed: "Failed", stopped: "Stopped" };

export const isEnded = (cluster) => cluster.status === "failed" || cluster.status === "stopped";

function socket(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

function setStatus(node, status) {
  node.dataset.status = status;
  setText(node, STATUS[status] ?? status);
}

export class ClusterCard {
  constructor(cluster, hooks) {
    const { root, refs } = stamp("card");
    this.root = root;
    this.refs = refs;
    this.hooks = hooks;
    this.wanted = null; // workers asked for here and not yet confirmed
    const id = cluster.id;
    const article = root.firstElementChild;
    article.dataset.id = id;
    refs.name.id = `name-${id}`;
    article.setAttribute("aria-labelledby", refs.name.id);
    refs.slider.id = `workers-${id}`;
    refs.label.htmlFor = refs.slider.id;
    refs.slider.setAttribute("aria-describedby", refs.name.id);
    refs.number.setAttribute("aria-label", `Workers of ${id}, as a number`);
    for (const name of ["open", "dashboard", "stop", "copy"]) refs[name].setAttribute("aria-describedby", refs.name.id);
    this.scale = joinScale(refs.slider, refs.number, {
      changed: (n) => {
        this.wanted = n;
        this.ready();
      },
      settled: (n) => this.rescale(n),
    });
    refs.stop.addEventListener("click", () => hooks.stop(id, refs.stop));
    refs.copy.addEventListener("click", () => copyText(refs.client, refs.copy));
    this.sharing = new Sharing(id, refs, hooks);
    this.update(cluster);
  }

  update(cluster) {
    this.cluster = cluster;
    const { refs } = this;
    const { workers, status } = cluster;
    this.root.firstElementChild.dataset.status = status;
    setText(refs.name, cluster.id);
    setStatus(refs.status, status);
    const about = [profileTitle(cluster.profile), (cluster.materials ?? []).join(", ")].filter(Boolean).join(" · ");
    setText(refs.about, about);
    refs.about.hidden = !about;

    const running = status === "running";
    if (!running && refs.controls.contains(document.activeElement)) refs.name.focus();
    refs.controls.hidden = !running;
    if (cluster.queue) setText(refs.latest, cluster.queue.summary);
    refs.latest.hidden = running || !refs.latest.textContent;
    if (status === "stopping" && document.activeElement === refs.stop) refs.name.focus();
    refs.stop.hidden = status === "stopping";

    this.sharing.update(cluster);
    setLink(refs.open, cluster.url);
    setLink(refs.dashboard, cluster.dashboard_url);
    setLinks(refs.ports, "Ports: ", cluster.port_urls ?? {});
    if (cluster.scheduler_url) setText(refs.client, `Client("${socket(cluster.scheduler_url)}")`);
    refs.client.closest(".field").hidden = !cluster.scheduler_url;
    if (this.wanted === null) this.scale.set(workers.wanted, Math.max(workers.most, workers.wanted), Math.min(1, workers.wanted));
    this.ready();
    this.tick();
  }

  ready() {
    const wanted = this.wanted ?? this.cluster.workers.wanted;
    const { ready } = this.cluster.workers;
    this.refs.ready.dataset.steady = String(ready === wanted);
    setText(this.refs.ready, `${ready} of ${wanted} ready`);
    this.refs.slider.setAttribute("aria-valuetext", plural(wanted, "worker"));
  }

  async rescale(workers) {
    if (workers === this.cluster.workers.wanted) {
      this.wanted = null;
      return;
    }
    showError(this.refs.error, null);
    try {
      const cluster = await api.scale(this.cluster.id, workers);
      if (this.wanted === workers) this.wanted = null; // else the slider moved on meanwhile
      this.hooks.changed(cluster);
    } catch (error) {
      if (this.wanted === workers) this.wanted = null;
      showError(this.refs.error, error);
      this.update(this.cluster); // back to what is so
    }
  }

  /** The newest line of its story, shown while there is nothing to use yet. */
  heard(event) {
    setText(this.refs.latest, event.summary);
    this.refs.latest.hidden = this.cluster.status === "running";
  }

  failed(error) {
    showError(this.refs.error, error);
  }

  /** Times in words: called with every update and every few seconds. */
  tick() {
    const { culls_at, expires_at, status } = this.cluster;
    const now = api.now();
    const words = [];
    if (status !== "stopping") {
      const idle = culls_at && (!expires_at || Date.parse(culls_at) < Date.parse(expires_at));
      if (idle) words.push(`Stops at ${at(culls_at, now)} if not used (in ${span(Date.parse(culls_at) - now)}).`);
      if (expires_at) words.push(`Ends at ${at(expires_at, now)} ${idle ? "at the latest" : `(in ${span(Date.parse(expires_at) - now)})`}.`);
    }
    setText(this.refs.times, words.join(" "));
  }
}

export class EndedCard {
  constructor(cluster) {
    const { root, refs } = stamp("ended-card");
    this.root = root;
    this.refs = refs;
    root.dataset.id = cluster.id;
    this.update(cluster);
  }

  update(cluster) {
    this.cluster = cluster;
    this.root.dataset.status = cluster.status;
    setText(this.refs.name, cluster.id);
    setStatus(this.refs.status, cluster.status);
    setText(this.refs.reason, cluster.reason ?? "");
    this.tick();
  }

  tick() {
    const { ended_at } = this.cluster;
    const now = api.now();
    setText(this.refs.times, ended_at ? `${at(ended_at, now)}, ${span(now - Date.parse(ended_at))} ago` : "");
  }
}
