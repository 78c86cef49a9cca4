// What to launch: the profile's defaults, then what the launch link says, then what the student chose.
import { $, clamp, joinScale, plural, setText } from "./dom.js";

const query = new URLSearchParams(location.search);
const slider = $("workers");
const number = $("workers-number");
const materials = $("materials");

const linked = /^\d+$/.test(query.get("workers") ?? "") ? Number(query.get("workers")) : null; // workers that the link asks for
let profiles = [];
let chosen = null;
let touched = false; // the student moved the slider: a change of profile keeps the number

const scale = joinScale(slider, number, {
  changed: () => {
    touched = true;
    describe();
  },
  settled: () => {},
});
materials.addEventListener("input", describe);
$("options-form").addEventListener("submit", (event) => event.preventDefault());

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

export function setProfiles(all) {
  const first = profiles.length === 0;
  profiles = all;
  const asked = query.get("profile");
  chosen = all.find((p) => p.name === (chosen?.name ?? asked)) ?? all[0] ?? null;
  if (first) {
    materials.value = query.getAll("materials").map((m) => m.trim()).filter(Boolean).join("\n");
    showLink(asked);
  }
  drawProfiles();
  if (first && linked !== null) {
    useProfile(clamp(linked, 1, chosen?.workers.most ?? 1));
    touched = true;
  } else {
    useProfile();
  }
  $("options").hidden = false;
}

/** What the link wants, in full and before anything is launched: whoever made it need not be the teacher. */
function showLink(profile) {
  const box = $("link");
  const part = (text) => Object.assign(document.createElement("li"), { textContent: text });
  const parts = [];
  if (profile) parts.push(chosen?.name === profile ? part(chosen.title || profile) : part(`a profile “${profile}”, which is not offered here`));
  if (linked !== null) {
    const most = chosen?.workers.most ?? 1;
    parts.push(part(plural(clamp(linked, 1, most), "worker") + (linked > most ? ` (it says ${linked}; ${most} are the most here)` : "")));
  }
  for (const address of lines(materials.value)) parts.push(part(`materials from ${address}`));
  box.hidden = parts.length === 0;
  if (box.hidden) return;
  const list = document.createElement("ul");
  list.append(...parts);
  box.replaceChildren("Your link asks for", list, "Nothing starts before you press the button.");
}

function useProfile(workers) {
  if (!chosen) return;
  const keep = workers ?? (touched ? scale.value() : chosen.workers.default);
  scale.set(clamp(keep, 1, chosen.workers.most), chosen.workers.most);
  describe();
}

function drawProfiles() {
  const box = $("profiles");
  box.hidden = profiles.length < 2;
  for (const old of box.querySelectorAll("label")) old.remove();
  for (const profile of profiles) {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "profile", value: profile.name, checked: profile === chosen });
    const title = document.createElement("span");
    title.className = "profile-title";
    title.textContent = profile.title || profile.name;
    const description = document.createElement("span");
    description.className = "hint";
    const size = `${plural(profile.workers.default, "worker")}, up to ${profile.workers.most}.`;
    description.textContent = [profile.description, size].filter(Boolean).join(" ");
    radio.addEventListener("change", () => {
      chosen = profile;
      useProfile();
    });
    label.append(radio, title, description);
    box.append(label);
  }
}

/** "https://github.com/dask/dask-tutorial.git@main" -> "dask-tutorial" */
function shortName(address) {
  const last = address.replace(/\/+$/, "").split("/").pop() || address;
  return last.replace(/@[^@]*$/, "").replace(/\.git$/, "") || address;
}

function describe() {
  const parts = [plural(scale.value(), "worker")];
  if (chosen && profiles.length > 1) parts.push(chosen.title || chosen.name);
  const own = lines(materials.value);
  const repositories = own.length ? own : (chosen?.materials ?? []);
  if (repositories.length) parts.push(`with ${repositories.slice(0, 3).map(shortName).join(", ")}${repositories.length > 3 ? ` and ${repositories.length - 3} more` : ""}`);
  setText($("what"), parts.join(" · "));
}

/** Whether there is a choice to be made. */
export const offered = () => profiles.length > 1;

/** The body of POST /api/clusters. */
export function order() {
  const body = { workers: scale.value() };
  if (chosen) body.profile = chosen.name;
  const repositories = lines(materials.value);
  if (repositories.length) body.materials = repositories;
  return body;
}

export const profileTitle = (name) => (profiles.length > 1 ? profiles.find((p) => p.name === name)?.title || name : "");
