/** The states of the service, polled every few seconds while the page is visible, and of the socket. */
import { find, icon } from "./dom.js";
import { ask } from "./service.js";

const ASK_EVERY = 5000;
const TONES = {
  ...{ ready: "good", degraded: "fair", starting: "fair", draining: "fair" },
  ...{ live: "good", connecting: "fair", replaying: "fair", waiting: "fair" },
};
let serving = true;
const ICONS = { good: "check", fair: "ring", bad: "broken" };

/** Shows a state as an icon and a word, with details in small print. */
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

/** Polls the service, and calls `onReturn` when it is ready again. */
export async function watchService(onReturn) {
  const before = serving;
  if (!document.hidden) await examine();
  if (serving && !before) onReturn();
  setTimeout(watchService, ASK_EVERY, onReturn);
}

async function examine() {
  try {
    const { status, phase, checks, detail } = await ask("/health/ready", { accept: [503] });
    const faults = Object.entries(checks ?? {}).filter(([, check]) => !check.ok);
    const reasons = faults.map(([name, check]) => `${name}: ${check.detail}`).join("; ");
    const starting = status === "starting" && phase ? `phase: ${phase}` : "";
    serving = status === "ready" || status === "degraded";
    show("service", status ?? "failed", status ?? "failed", reasons || starting || (status ? "" : detail));
  } catch (problem) {
    serving = false;
    show("service", "unreachable", "unreachable", problem.message);
  }
}

document.addEventListener("visibilitychange", () => document.hidden || examine());
