/**
 * The session of the user. In dev the service makes a token for any name, and the name is kept in localStorage;
 * in production the user pastes a token, which is kept in sessionStorage.
 */
import { find } from "./dom.js";
import { ask, Problem } from "./service.js";

const byName = document.documentElement.dataset.signIn === "name";
const storage = byName ? localStorage : sessionStorage;
const key = byName ? "user" : "token";

export class Session {
  constructor({ onBegin, onEnd }) {
    Object.assign(this, { onBegin, onEnd, token: "", user: "", renewed: -Infinity });
    find(byName ? "by-token" : "by-name").remove();
    this.form = find("sign-in");
    this.field = this.form.querySelector("input");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin(this.field.value.trim()).then(() => this.token && find("message").focus());
    });
    find("sign-out").addEventListener("click", () => this.end(""));
  }

  /** Signs in with the stored name or token, or asks for one. */
  async restore() {
    const kept = storage.getItem(key);
    if (kept) await this.begin(kept);
    else this.#ask("");
  }

  async begin(nameOrToken) {
    try {
      const made = byName ? await makeToken(nameOrToken) : { token: nameOrToken, user: subject(nameOrToken) };
      Object.assign(this, made);
      await this.onBegin();
    } catch (problem) {
      if (!(problem instanceof Problem)) reportError(problem);
      return this.#ask(problem.message);
    }
    storage.setItem(key, nameOrToken);
    find("user").textContent = this.user;
    this.#show(true);
  }

  /** Replaces a token that the service has refused; returns whether there is a new one. */
  async renew(stale) {
    if (stale !== this.token) return true;
    if (!byName || performance.now() - this.renewed < 5000) return false;
    this.renewed = performance.now();
    try {
      Object.assign(this, await makeToken(this.user));
      return true;
    } catch {
      return false;
    }
  }

  end(why) {
    storage.removeItem(key);
    this.token = "";
    this.onEnd();
    this.#ask(why);
  }

  #ask(why) {
    this.#show(false);
    find("sign-in-problem").textContent = why;
    this.field.focus();
    if (!byName) this.field.value = "";
  }

  #show(inside) {
    this.form.hidden = inside;
    for (const part of document.querySelectorAll(".inside")) part.hidden = !inside;
  }
}

const makeToken = (user) => ask("/api/dev/token", { body: { user } });

/** The user's name in a token, to show it; the service verifies the token. */
function subject(token) {
  try {
    const claims = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(claims), (character) => character.charCodeAt(0));
    return String(JSON.parse(new TextDecoder().decode(bytes)).sub).slice(0, 64);
  } catch {
    return "with a token";
  }
}
