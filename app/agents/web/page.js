/** The page: handles the input of the user, and shows runs, their events and errors. */
import { element, find } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { connect } from "./events.js";
import { MOST_RUNS, RunList } from "./runs.js";
import { ask, Problem } from "./service.js";
import { Session } from "./session.js";
import { show, watchService } from "./vitals.js";
import { count, duration } from "./words.js";

const session = new Session({ onBegin: begin, onEnd: leave });
const runs = new RunList(find("runs"), { onCancel: cancel, onChange: showCount, onEnd: announceEnd });
let [events, listeningWith] = [null, ""];
let pending = null;
let replay = null;

/** Shows the last runs, and watches the stream from the first event of the oldest of them. */
async function begin() {
  const last = await asUser(`/api/runs?limit=${MOST_RUNS}`);
  leave();
  last.reverse().forEach((run) => runs.add(run));
  const [first] = last.length ? await asUser(`/api/runs/${last[0].id}/events?limit=1`) : [];
  if (last.length) runs.reveal(runs.cards.get(last.at(-1).id));
  listen({ after: first ? first.seq - 1 : 0 });
}

function listen(from) {
  listeningWith = session.token;
  events = connect({ url: "/ws", token: listeningWith, ...from, onEvent: take, onState: follow });
}

function leave() {
  events?.close();
  events = null;
  find("pull").setAttribute("aria-checked", "false");
  find("news").textContent = "";
  runs.clear();
}

function take(event, { replayed }) {
  const missed = replayed && replay !== null;
  if (missed) replay.events += 1;
  else if (replay) replay = null;
  runs.take(event, missed);
  find("cursor").textContent = `#${event.seq}`;
  if (missed) showReplay();
}

/** Shows the state of the socket, and the gaps in which it was not connected. */
function follow({ phase, streams, resumed, wait, code, reason }) {
  const [cursor = 0] = Object.values(streams);
  const words = {
    connecting: ["connecting", ""],
    replaying: ["replaying", ""],
    live: ["live", ""],
    waiting: ["reconnecting", `${reason || "the socket was closed"}; trying again in ${Math.ceil(wait / 1000)} s`],
    paused: ["network pulled", "runs go on without you"],
    refused: ["refused", reason],
    reset: ["starting over", reason],
    closed: ["closed", ""],
  };
  show("socket", phase, ...words[phase]);
  find("cursor").textContent = `#${cursor}`;
  if (phase === "replaying") {
    const away = runs.endGap();
    replay = resumed ? { from: cursor, away, events: 0 } : null;
  } else if (phase === "live" && replay) showReplay();
  else if (phase === "waiting" || phase === "paused") runs.beginGap();
  else if (phase === "reset") runs.clear();
  else if (phase === "refused") refused(code, reason);
}

async function refused(code, reason) {
  const { from } = events;
  if (code === 4401 && (await session.renew(listeningWith))) listen(from);
  else session.end(reason);
}

/** Sends a request with the token; an expired token is renewed once where that is possible. */
async function asUser(path, options = {}) {
  const { token } = session;
  try {
    return await ask(path, { ...options, token });
  } catch (problem) {
    if (problem.status !== 401 || !(await session.renew(token))) throw problem;
    return ask(path, { ...options, token: session.token });
  }
}

/** Sends a message; a retry has the same idempotency key, so the message runs once. */
async function send(message) {
  find("problem").textContent = find("news").textContent = "";
  if (pending?.message !== message) pending = { message, key: newKey() };
  const headers = { "Idempotency-Key": pending.key };
  try {
    const run = await asUser("/api/runs", { body: { message }, headers });
    pending = null;
    runs.reveal(runs.add(run));
    return true;
  } catch (problem) {
    showProblem(problem);
    return false;
  }
}

async function cancel(card) {
  card.cancel.disabled = true;
  try {
    await asUser(`/api/runs/${card.id}/cancel`, { method: "POST" });
  } catch (problem) {
    card.cancel.disabled = false;
    showProblem(problem);
  }
}

/** As random as crypto.randomUUID, which only secure contexts have. */
const newKey = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

function showProblem(problem) {
  if (!(problem instanceof Problem)) reportError(problem);
  find("problem").textContent = problem.message;
}

function showReplay() {
  const { from, away, events: missed } = replay;
  const what = missed ? count(missed, "event") : "nothing";
  find("news").textContent = `Back after ${duration(away)}: ${what} replayed after #${from}.`;
}

function showCount(shown) {
  find("empty").hidden = shown > 0;
  find("how-many").textContent = shown < MOST_RUNS ? (shown || "").toString() : `the last ${MOST_RUNS}`;
}

function announceEnd(card) {
  find("spoken").textContent = `Run ${card.status}: ${card.answer.textContent || card.title.textContent}`;
}

find("new-run").addEventListener("submit", async (event) => {
  event.preventDefault();
  const message = find("message").value;
  if (!message.trim()) return find("message").focus();
  find("send").disabled = true;
  const sent = await send(message);
  find("send").disabled = false;
  if (sent && find("message").value === message) find("message").value = "";
  find("message").focus();
});

find("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("new-run").requestSubmit();
});

find("pull").addEventListener("click", ({ currentTarget: pull }) => {
  const pulled = pull.getAttribute("aria-checked") !== "true";
  pull.setAttribute("aria-checked", pulled);
  if (pulled) events?.pause();
  else events?.resume();
});

for (const { name, message } of EXAMPLES) {
  const chip = element("button", { type: "button", class: "chip", text: name, title: message });
  chip.addEventListener("click", () => send(message));
  find("examples").append(element("li", {}, chip));
}

watchService(() => find("pull").getAttribute("aria-checked") === "true" || events?.resume());
session.restore();
