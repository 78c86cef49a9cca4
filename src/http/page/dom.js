// The DOM of the page, and what it says in it. Everything that came from a server is put in with textContent.

export const $ = (id) => document.getElementById(id);

/** A copy of a <template>, with its data-ref elements by name. */
export function stamp(templateId) {
  const root = $(templateId).content.firstElementChild.cloneNode(true);
  const refs = {};
  for (const node of root.querySelectorAll("[data-ref]")) refs[node.dataset.ref] = node;
  return { root, refs };
}

/** Sets text only when it differs, so that live regions speak once and nothing repaints. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Shows what went wrong and what to do next, or hides the box when there is no error. */
export function showError(box, error) {
  if (!error) {
    box.hidden = true;
    box.replaceChildren();
    return;
  }
  const what = document.createElement("strong");
  what.textContent = error.message;
  box.replaceChildren(what);
  if (error.action) box.append(" ", error.action);
  box.hidden = false;
}

/** A link may go to http(s) only, whatever the answer said. */
export function safeUrl(path) {
  if (!path) return null;
  try {
    const url = new URL(path, location.href);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

export function setLink(link, path) {
  const href = safeUrl(path);
  link.hidden = !href;
  if (href) link.href = href;
  else link.removeAttribute("href");
}

/** A line of links by their names, each into a new tab; hidden when there are none. */
export function setLinks(line, label, urls) {
  const links = Object.entries(urls).map(([name, path]) => {
    const link = document.createElement("a");
    link.textContent = name;
    link.target = "_blank";
    link.rel = "noopener";
    setLink(link, path);
    return link;
  });
  line.hidden = !links.length;
  const same = [...line.querySelectorAll("a")].map((link) => link.href).join() === links.map((link) => link.href).join();
  if (!same) line.replaceChildren(label, ...links.flatMap((link, at) => (at ? [", ", link] : [link])));
}

/** Copies what a node shows, and says so on the button. */
export async function copyText(node, button) {
  let copied = true;
  try {
    await navigator.clipboard.writeText(node.textContent);
  } catch {
    // no clipboard outside a secure context: select it and use the old command
    const range = document.createRange();
    range.selectNodeContents(node);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    copied = document.execCommand("copy");
  }
  setText(button, copied ? "Copied" : "Selected");
  setTimeout(() => setText(button, "Copy"), 2000);
}

export const plural = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;

export const clamp = (n, least, most) => Math.min(most, Math.max(least, n));

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** 75 -> "1:15" */
export function minutes(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "numeric", minute: "2-digit" });

/** The reader's own clock time; with the weekday when it is not today. */
export function at(iso, now) {
  const when = new Date(iso);
  const today = when.toDateString() === new Date(now).toDateString();
  return (today ? TIME : DAY).format(when);
}

/** "54 min", "3 h 10 min"; "less than a minute" at the end. */
export function span(ms) {
  const m = Math.round(ms / 60000);
  if (m < 1) return "less than a minute";
  if (m < 60) return `${m} min`;
  const rest = m % 60;
  return rest && m < 600 ? `${Math.floor(m / 60)} h ${rest} min` : `${Math.round(m / 60)} h`;
}

/** Joins a slider and its number field: both show one value; `changed` hears each step, `settled` the last. */
export function joinScale(slider, number, { changed, settled }) {
  let timer = 0;
  const least = () => Number(slider.min);
  const most = () => Number(slider.max);
  const fill = () => {
    const share = (Number(slider.value) - least()) / Math.max(1, most() - least());
    slider.style.setProperty("--fill", `${share * 100}%`);
  };
  const take = (raw, wait) => {
    const n = clamp(Math.round(Number(raw)), least(), most());
    if (!Number.isFinite(n)) return;
    slider.value = n;
    fill();
    changed(n);
    clearTimeout(timer);
    timer = setTimeout(() => settled(n), wait);
  };
  slider.addEventListener("input", () => {
    number.value = slider.value;
    take(slider.value, 500);
  });
  number.addEventListener("input", () => number.value !== "" && take(number.value, 900));
  number.addEventListener("change", () => {
    if (number.value === "") number.value = slider.value;
    else take(number.value, 0);
    number.value = slider.value;
  });
  return {
    set(n, mostNow, leastNow = 1) {
      slider.min = number.min = leastNow;
      slider.max = number.max = mostNow;
      slider.value = n;
      if (document.activeElement !== number) number.value = n;
      fill();
    },
    value: () => Number(slider.value),
  };
}
