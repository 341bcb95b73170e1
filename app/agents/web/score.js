/**
 * The timeline of a run, drawn like a score: a lane for each type of event, time from left to right.
 *
 * Marks carry the milliseconds since the run began and the style sheet divides them by `--span`, so a run that grows
 * changes one number, not every mark.
 */
import { element, place } from "./dom.js";
import { count, duration } from "./words.js";

/** The event types come from the service; a new one gets a lane without a change here. */
const TYPES = document.documentElement.dataset.eventTypes.split(" ");
const MOST_MARKS = 300;
const MOST_TICKS = 5;

export class Score {
  constructor() {
    this.lanes = Object.fromEntries(TYPES.map((type) => [type, element("div", { class: "track", "data-type": type })]));
    const rows = TYPES.map((type) =>
      element("div", { class: "lane" }, element("span", { class: "lane-name", text: type }), this.lanes[type]),
    );
    this.axis = element("div", { class: "axis" });
    this.gaps = element("div", { class: "gaps" });
    this.element = element("div", { class: "score", role: "img" }, this.gaps, this.axis, ...rows);
    [this.marks, this.replayed] = [0, 0];
    this.call = null;
  }

  /** Marks an event `at` milliseconds into the run; `tone` is its outcome. */
  mark(type, at, { tone, replayed }) {
    if (type === "tool_completed" && this.call) {
      place(this.call, { to: at }).classList.remove("open");
      this.call = null;
    }
    if (!this.lanes[type] || (this.marks++ >= MOST_MARKS && type !== "agent_completed")) return;
    const marks = [place(element("i", { class: "mark", "data-tone": tone }), { at })];
    if (type === "tool_executing") {
      this.call = place(element("i", { class: "call open" }), { from: at });
      marks.unshift(this.call);
    }
    if (replayed) {
      this.replayed += 1;
      marks.forEach((mark) => mark.classList.add("replayed"));
    }
    this.lanes[type].append(...marks);
  }

  /** Draws the run up to `span` milliseconds, and the gaps in which the socket was not connected. */
  draw(span, gaps) {
    const whole = Math.max(span, 1);
    place(this.element, { span: whole });
    const replayed = this.replayed ? `, ${this.replayed} of them replayed` : "";
    this.element.setAttribute("aria-label", `${count(this.marks, "event")} in ${duration(span)}${replayed}`);
    this.#drawTicks(ticks(whole));
    if (!gaps.length) return;
    const seen = gaps.filter(({ from, to }) => to > 0 && from < whole);
    this.gaps.replaceChildren(
      ...seen.map(({ from, to }) =>
        place(element("i", { class: "gap" }), { from: Math.max(0, from), to: Math.min(to, whole) }),
      ),
    );
  }

  #drawTicks(moments) {
    if (this.drawn === moments.join()) return;
    this.drawn = moments.join();
    this.axis.replaceChildren(
      ...moments.map((at) => place(element("span", { class: "tick" }, element("span", { text: short(at) })), { at })),
    );
  }
}

const short = (at) => (at ? duration(at).replace(/\.0+ |(\.\d*[1-9])0+ /, "$1 ") : "0");

/** Round numbers, at most a handful, from zero to the span. */
function ticks(span) {
  const power = 10 ** Math.floor(Math.log10(span / MOST_TICKS));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => span / candidate <= MOST_TICKS);
  return Array.from({ length: Math.floor(span / step) + 1 }, (_, index) => Number((index * step).toPrecision(6)));
}
