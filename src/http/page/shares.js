// Who may enter a cluster beside its owner: the fold of a card with its access and its share links.
import * as api from "./api.js";
import { at, copyText, safeUrl, setText, showError } from "./dom.js";

export class Sharing {
  constructor(id, refs, hooks) {
    this.id = id;
    this.refs = refs;
    this.hooks = hooks;
    this.setting = false; // an access asked for here and not yet confirmed
    for (const name of ["access", "lasts"]) {
      refs[name].id = `${name}-${id}`;
      refs[`${name}Label`].htmlFor = refs[name].id;
    }
    refs.share.addEventListener("toggle", () => refs.share.open && this.act(() => api.shares(id)));
    refs.make.addEventListener("click", () =>
      this.act(async () => {
        await api.share(id, Number(refs.lasts.value));
        return api.shares(id);
      }),
    );
    refs.access.addEventListener("change", () => this.open(refs.access.value));
  }

  update(cluster) {
    if (!this.setting) this.refs.access.value = cluster.access;
  }

  async open(access) {
    this.setting = true;
    showError(this.refs.error, null);
    try {
      this.hooks.changed(await api.open(this.id, access));
    } catch (error) {
      showError(this.refs.error, error);
    } finally {
      this.setting = false;
      this.hooks.refresh(this.id);
    }
  }

  /** Does something that ends with the links that there are. */
  async act(doing) {
    showError(this.refs.error, null);
    try {
      this.draw(await doing());
    } catch (error) {
      showError(this.refs.error, error);
    }
  }

  draw(shares) {
    this.refs.links.replaceChildren(...shares.map((share) => this.line(share)));
  }

  line(share) {
    const url = Object.assign(document.createElement("code"), { textContent: safeUrl(share.url) });
    const button = (text, about) => {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet small", textContent: text });
      button.setAttribute("aria-label", `${text} ${about}`);
      return button;
    };
    const until = at(share.until, api.now());
    const about = `the link until ${until}`;
    const copy = button("Copy", about);
    copy.addEventListener("click", () => copyText(url, copy));
    const revoke = button("Revoke", about);
    revoke.dataset.testid = "revoke";
    revoke.addEventListener("click", () => this.act(() => api.unshare(this.id, share.id)));
    const when = Object.assign(document.createElement("span"), { className: "hint" });
    setText(when, `until ${until}`);
    const row = Object.assign(document.createElement("div"), { className: "row" });
    row.append(when, copy, revoke);
    const item = document.createElement("li");
    item.dataset.testid = "share-link";
    item.append(url, row);
    return item;
  }
}
