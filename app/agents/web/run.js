/** One run on the page: its message, its answer, its timeline and its events. */
import { element, icon } from "./dom.js";
import { Score } from "./score.js";
import { clip, count, duration, json, moment } from "./words.js";

const MOST_EVENTS = 300;
const STATUS_ICONS = { completed: "check", failed: "cross", cancelled: "stop", interrupted: "broken", running: "ring" };

/** An event as [what happened, the details]. */
const SENTENCES = {
  agent_started: () => ["", ""],
  agent_thinking: ({ thought }) => ["", clip(thought ?? "")],
  tool_executing: ({ tool, arguments: given }) => [tool, json(given)],
  tool_completed: ({ tool, status, result, error }) => [
    [tool, status === "ok" ? "returned" : status].filter(Boolean).join(" "),
    status === "ok" ? json(result) : clip(error ?? ""),
  ],
  agent_completed: ({ status, error }) => [status, clip(error ?? "", 200)],
};

export class RunCard {
  constructor({ id, message, at }, onCancel) {
    [this.id, this.message, this.began] = [id, message, at];
    [this.status, this.ended, this.last, this.shown, this.hidden] = ["running", null, 0, 0, 0];
    this.touched = false;
    this.score = new Score();
    this.badge = element("span", { class: "badge" });
    this.time = element("span", { class: "time" });
    const name = { class: "title", text: firstLine(message), "aria-controls": `run-${id}` };
    this.title = element("button", { type: "button", ...name });
    this.title.addEventListener("click", () => {
      this.touched = true;
      this.open = !this.open;
    });
    this.cancel = element("button", { type: "button", class: "quiet cancel", text: "Cancel" });
    this.cancel.addEventListener("click", () => onCancel(this));
    this.answer = element("p", { class: "answer", hidden: "" });
    this.events = element("ol", { class: "events" });
    this.rest = element("p", { class: "note", hidden: "" });
    const origin = element("p", { class: "origin", text: `run ${id}` });
    const said = element("pre", { class: "message", text: clip(message) });
    said.hidden = message.trim() === firstLine(message);
    const body = element("div", { class: "body", id: `run-${id}` }, said, this.events, this.rest, origin);
    this.element = element(
      "li",
      { class: "run", "data-run": id },
      this.badge,
      element("h3", {}, this.title),
      this.answer,
      this.score.element,
      this.time,
      this.cancel,
      body,
    );
    this.body = body;
    this.open = false;
    this.#settle("running");
  }

  get open() {
    return this.title.getAttribute("aria-expanded") === "true";
  }

  set open(open) {
    this.title.setAttribute("aria-expanded", open);
    this.element.classList.toggle("open", open);
    this.body.hidden = !open;
  }

  get running() {
    return this.status === "running";
  }

  /** Takes one event of this run, in order. */
  take({ seq, type, at, payload }, replayed) {
    if (type === "agent_started") this.began = moment(at);
    const offset = moment(at) - this.began;
    this.last = Math.max(this.last, offset);
    const tone = type === "agent_completed" || type === "tool_completed" ? payload.status : undefined;
    this.score.mark(type, offset, { tone, replayed });
    if (this.shown < MOST_EVENTS || type === "agent_completed") this.#write(seq, type, offset, payload, tone, replayed);
    else this.#hide();
    if (type === "agent_completed") this.end(payload.status, offset, payload);
  }

  /** Ends the run, `offset` milliseconds after it began. */
  end(status, offset, { answer, error } = {}) {
    this.ended = offset;
    this.#settle(status);
    if (answer === undefined && error === undefined) return;
    this.answer.textContent = clip(String(answer ?? error));
    this.answer.hidden = false;
  }

  /** Draws the run as of a time of the service's clock. */
  draw(now, gaps) {
    const span = this.ended ?? Math.max(this.last, now - this.began);
    this.time.textContent = duration(span);
    const relative = gaps.map(({ from, to }) => ({ from: from - this.began, to: (to ?? now) - this.began }));
    this.score.draw(span, relative);
  }

  #settle(status) {
    this.status = status;
    this.element.dataset.status = status;
    this.badge.replaceChildren(icon(STATUS_ICONS[status] ?? "broken"), element("span", { text: status }));
    this.cancel.hidden = status !== "running";
  }

  #write(seq, type, offset, payload, tone, replayed) {
    const [what, details] = (SENTENCES[type] ?? ((other) => ["", json(other)]))(payload);
    const words = element("span", { class: "words" });
    if (tone === "failed") words.append(icon("cross"), " ");
    if (what) words.append(element("b", { text: what }), " ");
    words.append(element("span", { class: /tool/.test(type) ? "code" : "", text: details }));
    const { milliseconds } = payload;
    if (milliseconds !== undefined) words.append(element("span", { class: "took", text: ` in ${took(milliseconds)}` }));
    const row = element(
      "li",
      { "data-seq": seq, "data-type": type, "data-tone": tone },
      element("span", { class: "offset", text: `+${duration(offset)}` }),
      element("span", { class: "type", text: type }),
      words,
      element("span", { class: "seq", text: `#${seq}` }),
    );
    if (replayed) {
      row.dataset.replayed = "";
      words.append(" ", element("span", { class: "tag", text: "replayed" }));
    }
    this.events.append(row);
    this.shown += 1;
  }

  #hide() {
    this.hidden += 1;
    this.rest.hidden = false;
    this.rest.textContent = `${count(this.hidden, "event")} more: GET /api/runs/${this.id}/events has all of them.`;
  }
}

const took = (milliseconds) => (milliseconds < 0.1 ? "less than 0.1 ms" : duration(milliseconds));

function firstLine(message) {
  const line = message.trim().split("\n", 1)[0];
  return line.length > 160 ? `${line.slice(0, 160)}…` : line;
}
