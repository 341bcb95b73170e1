/** The last runs, the newest first; older ones are removed, so that a page left open for a month stays small. */
import { RunCard } from "./run.js";
import { serviceTime } from "./service.js";
import { moment } from "./words.js";

export const MOST_RUNS = 50;
const MOST_GAPS = 20;
const REDRAW_EVERY = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 80;

export class RunList {
  constructor(list, { onCancel, onChange, onEnd }) {
    Object.assign(this, { list, onCancel, onChange, onEnd, cards: new Map(), gaps: [], opened: new Set(), timer: 0 });
  }

  /** Shows a run, unless it is shown already. */
  add({ id, message, created_at, finished_at, status }) {
    const known = this.cards.get(id);
    if (known) return known;
    const card = new RunCard({ id, message, at: moment(created_at) }, this.onCancel);
    if (status !== "running" && finished_at) card.end(status, moment(finished_at) - card.began);
    this.cards.set(id, card);
    this.list.prepend(card.element);
    if (this.cards.size > MOST_RUNS) this.#forget(this.cards.values().next().value);
    this.#redraw(card);
    this.onChange(this.cards.size);
    return card;
  }

  /** Takes an event; events of removed runs are dropped. */
  take(event, replayed) {
    const { subject: id, type, at, payload } = event;
    if (type === "agent_started" && !this.cards.has(id)) {
      const card = this.add({ id, message: String(payload.message ?? ""), created_at: at, status: "running" });
      if (!replayed) this.reveal(card);
    }
    const card = this.cards.get(id);
    if (!card) return;
    card.take(event, replayed);
    this.#redraw(card);
    if (type === "agent_completed") this.onEnd(card);
  }

  /** Opens a run, and closes those that it opened before, unless they still run or the user has touched them. */
  reveal(card) {
    card.open = true;
    for (const before of this.opened) {
      if (before === card) continue; // its events may have opened it before the answer to its POST came
      if (before.running || before.touched || before.element.contains(document.activeElement)) continue;
      before.open = false;
      this.opened.delete(before);
    }
    this.opened.add(card);
  }

  clear() {
    this.cards.forEach((card) => this.#forget(card));
    this.gaps = [];
    this.onChange(0);
  }

  /** Begins a gap: the socket is not connected. */
  beginGap() {
    if (this.gaps.at(-1)?.to !== null) this.gaps.push({ from: serviceTime(), to: null });
    if (this.gaps.length > MOST_GAPS) this.gaps.shift();
    this.#keepDrawing();
  }

  /** Ends the gap: the socket is connected again; returns its length in milliseconds. */
  endGap() {
    const gap = this.gaps.at(-1);
    if (!gap || gap.to !== null) return 0;
    gap.to = serviceTime();
    this.cards.forEach((card) => this.#redraw(card));
    return gap.to - gap.from;
  }

  #forget(card) {
    card.element.remove();
    this.cards.delete(card.id);
    this.opened.delete(card);
  }

  #redraw(card) {
    card.draw(serviceTime(), this.gaps);
    if (card.running) this.#keepDrawing();
  }

  #keepDrawing() {
    if (this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.cards.forEach((card) => card.running && this.#redraw(card));
    }, REDRAW_EVERY);
  }
}
