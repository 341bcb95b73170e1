// A list of any length: only the rows that can be seen exist. Arrow keys walk it, Enter opens a row.
function longList({ label, rowHeight = 26, draw, open, empty }) {
  const inner = element("div", { class: "rows" });
  const box = element("div", { class: "long", tabindex: 0, role: "listbox", "aria-label": label }, inner);
  let items = [], active = 0, first = -1, last = -1;

  function paint(force) {
    const from = Math.max(0, Math.floor(box.scrollTop / rowHeight) - 4);
    const to = Math.min(items.length, Math.ceil((box.scrollTop + box.clientHeight) / rowHeight) + 4);
    if (!force && from === first && to === last) return;
    [first, last] = [from, to];
    inner.replaceChildren(...items.slice(from, to).map((item, offset) => {
      const index = from + offset;
      const row = element("div", { role: "option", id: `row-${index}`, class: "row", "aria-selected": index === active ? "true" : "false", "aria-setsize": items.length, "aria-posinset": index + 1, style: `top:${index * rowHeight}px` }, draw(item));
      row.addEventListener("click", () => { active = index; open(item); });
      return row;
    }));
    box.setAttribute("aria-activedescendant", `row-${active}`);
  }

  function show(next) {
    items = next;
    active = 0;
    inner.style.height = `${items.length * rowHeight}px`;
    box.style.height = `${Math.min(Math.max(items.length, 1) * rowHeight + 2, innerHeight * 0.7)}px`;
    box.scrollTop = 0;
    items.length ? paint(true) : inner.replaceChildren(nothing(empty));
  }

  function walk(to) {
    active = Math.max(0, Math.min(items.length - 1, to));
    const top = active * rowHeight;
    if (top < box.scrollTop) box.scrollTop = top;
    if (top + rowHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + rowHeight - box.clientHeight;
    paint(true);
  }

  const page = () => Math.max(1, Math.floor(box.clientHeight / rowHeight) - 1);
  const keys = { ArrowDown: () => active + 1, ArrowUp: () => active - 1, PageDown: () => active + page(), PageUp: () => active - page(), Home: () => 0, End: () => items.length - 1 };
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && items[active]) open(items[active]);
    else if (keys[event.key]) walk(keys[event.key]());
    else return;
    event.preventDefault();
  });
  box.addEventListener("scroll", () => requestAnimationFrame(() => paint(false)), { passive: true });
  addEventListener("resize", () => items.length && paint(true));
  return { box, show };
}
