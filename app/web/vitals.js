/** What state things are in: the service, asked every few seconds while somebody looks, and the socket. */
import { find, icon } from "./dom.js";
import { ask } from "./service.js";

const ASK_EVERY = 5000;
const TONES = {
  ...{ ready: "good", degraded: "fair", starting: "fair", draining: "fair" },
  ...{ live: "good", connecting: "fair", waiting: "fair" },
};
const ICONS = { good: "check", fair: "ring", bad: "broken" };

/** Shows a state as a word with a sign before it, and what is behind it in small print. */
export function show(id, state, word, details = "") {
  const place = find(id);
  const tone = TONES[state] ?? "bad";
  place.dataset.state = state;
  place.dataset.tone = tone;
  place.querySelector(".sign").replaceChildren(icon(ICONS[tone]));
  const [said, small] = [place.querySelector(".word"), place.querySelector(".details")];
  if (said.textContent !== word) said.textContent = word;
  if (small.textContent !== details) small.textContent = details;
}

export async function watchService() {
  if (!document.hidden) await examine();
  setTimeout(watchService, ASK_EVERY);
}

async function examine() {
  try {
    const { status, phase, checks, detail } = await ask("/health/ready", { accept: [503] });
    const faults = Object.entries(checks ?? {}).filter(([, check]) => !check.ok);
    const reasons = faults.map(([name, check]) => `${name}: ${check.detail}`).join("; ");
    const starting = status === "starting" && phase ? `phase: ${phase}` : "";
    show("service", status ?? "failed", status ?? "failed", reasons || starting || (status ? "" : detail));
  } catch (problem) {
    show("service", "unreachable", "unreachable", problem.message);
  }
}

document.addEventListener("visibilitychange", () => document.hidden || examine());
