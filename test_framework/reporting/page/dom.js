// Elements and words: everything the panels are made of. A text is always a text node, never markup.
const DRAWN = new Set(["svg", "path", "line", "rect", "circle", "g", "polyline", "polygon"]);

function element(kind, attributes = {}, ...children) {
  const made = DRAWN.has(kind) ? document.createElementNS("http://www.w3.org/2000/svg", kind) : document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return made;
}

const OUTCOMES = {
  ".": { word: "passed", mark: "·" },
  R: { word: "passed after retry", mark: "R" },
  F: { word: "failed", mark: "F" },
  E: { word: "error", mark: "E" },
  Q: { word: "quarantined", mark: "Q" },
  s: { word: "skipped", mark: "s" },
  x: { word: "xfailed", mark: "x" },
  X: { word: "xpassed", mark: "X" },
  "-": { word: "not run", mark: "–" },
  " ": { word: "not there", mark: " " },
};
const LETTER = Object.fromEntries(Object.entries(OUTCOMES).map(([letter, { word }]) => [word, letter]));
const KIND = { ".": "passed", R: "retried", F: "failed", E: "error", Q: "quarantined", s: "skipped", x: "skipped", X: "passed", "-": "missing", " ": "absent" };

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const rounded = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

function seconds(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size < 0.9995) return `${rounded.format(value * 1000)} ms`;
  if (size < 90) return `${number.format(value)} s`;
  const [minutes, rest] = [Math.floor(value / 60), Math.round(value % 60)];
  return rest ? `${minutes} min ${rest} s` : `${minutes} min`;
}

function bytes(value) {
  if (value === null || value === undefined) return "–";
  const step = value >= 2 ** 30 ? ["GB", 2 ** 30] : ["MB", 2 ** 20];
  return `${number.format(value / step[1])} ${step[0]}`;
}

function measured(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "s" || unit === "seconds") return seconds(value);
  if (unit === "B" || unit === "bytes") return bytes(value);
  return `${number.format(value)}${unit === "%" ? " %" : unit ? ` ${unit}` : ""}`;
}

function moment(time) {
  return time ? new Date(time * 1000).toLocaleString("sv").slice(0, 16) : "–";
}

function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

function shortened(commit) {
  return commit ? commit.slice(0, 8) : "no commit";
}

function chip(text, kind = "") {
  return element("span", { class: `chip ${kind}` }, text);
}

function command(text) {
  if (!text) return null;
  const button = element("button", { type: "button", class: "copy", "aria-label": `Copy: ${text}`, onclick: copy }, "copy");
  function copy() {
    const done = () => { button.textContent = "copied"; setTimeout(() => { button.textContent = "copy"; }, 1500); };
    // a page opened from disk may not use the clipboard: then the text is selected, and one key copies it
    const select = () => getSelection().selectAllChildren(button.previousSibling);
    navigator.clipboard ? navigator.clipboard.writeText(text).then(done, select) : select();
  }
  return element("p", { class: "command" }, element("code", {}, text), button);
}

function strip(history) {
  const words = [...history].map((letter) => OUTCOMES[letter]?.word ?? letter);
  const cells = [...history].map((letter) => element("i", { class: `cell ${KIND[letter] ?? ""}` }, OUTCOMES[letter]?.mark ?? letter));
  return element("span", { class: "strip", role: "img", "aria-label": `oldest first: ${words.join(", ")}` }, cells);
}

function table(headings, rows, caption) {
  const head = headings.map((heading) => element("th", { scope: "col", class: heading.number ? "number" : null }, heading.title ?? heading));
  const body = rows.map((row) => element("tr", {}, row.map((cell, index) => element("td", { class: headings[index].number ? "number" : null }, cell))));
  return element("div", { class: "wide" }, element("table", {}, element("caption", { class: "spoken" }, caption), element("thead", {}, element("tr", {}, head)), element("tbody", {}, body)));
}

function few(items, draw, shown = 12) {
  const list = element("ul", { class: "few" }, items.slice(0, shown).map((item) => element("li", {}, draw(item))));
  if (items.length <= shown) return list;
  const more = element("button", { type: "button", class: "more" }, `${counted(items.length - shown, "more", "more")}`);
  more.addEventListener("click", () => {
    const next = items.slice(list.children.length, list.children.length + 200);
    list.append(...next.map((item) => element("li", {}, draw(item))));
    const left = items.length - list.children.length;
    left ? (more.textContent = counted(left, "more", "more")) : more.remove();
  });
  return element("div", {}, list, more);
}

function named(test) {
  const [file, ...inside] = test.split("::");
  return inside.length ? { name: inside.join("::"), file } : { name: file, file: "" };
}

function breakable(text, after = /(?<=[_:/[])/) {
  return text.split(after).flatMap((piece) => [piece, element("wbr")]);
}

function testLink(test) {
  const { name, file } = named(test);
  return element("span", { class: "test" }, element("a", { href: `#test=${encodeURIComponent(test)}` }, breakable(name)), " ", element("span", { class: "where" }, breakable(file, /(?<=\/)/)));
}

function panel(id, title, explanation, ...content) {
  return element("section", { id, "aria-labelledby": `${id}-title` },
    element("h2", { id: `${id}-title` }, title), element("p", { class: "about" }, explanation), content);
}

function nothing(text) {
  return element("p", { class: "nothing" }, text);
}
