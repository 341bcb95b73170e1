// Lines, bars and lanes, drawn as SVG; each says in words what it shows.
function line(values, { width = 120, height = 24, limit = null, unit = "", label = "" } = {}) {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return element("span", { class: "faint" }, known.length ? "nothing earlier" : "no data");
  const top = Math.max(...known, limit ?? -Infinity), bottom = Math.min(0, ...known);
  const x = (index) => 2 + (index / (values.length - 1)) * (width - 4);
  const y = (value) => height - 2 - ((value - bottom) / (top - bottom || 1)) * (height - 4);
  const pieces = [[]];
  values.forEach((value, index) => value === null ? pieces.push([]) : pieces.at(-1).push(`${x(index).toFixed(1)},${y(value).toFixed(1)}`));
  const said = `${label} over ${counted(values.length, "run")}: from ${measured(known[0], unit)} to ${measured(known.at(-1), unit)}`;
  return element("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "line", role: "img", "aria-label": said },
    limit !== null && element("line", { x1: 0, x2: width, y1: y(limit), y2: y(limit), class: "limit" }),
    pieces.filter((piece) => piece.length > 1).map((piece) => element("polyline", { points: piece.join(" ") })),
    element("circle", { cx: x(values.findLastIndex((value) => value !== null)), cy: y(known.at(-1)), r: 2 }));
}

function curve(samples, read, { title, show, limit = null }) {
  const width = 720, height = 110, left = 4, base = height - 18;
  const start = samples[0].time, span = samples.at(-1).time - start || 1;
  const peak = samples.reduce((best, sample) => (read(sample) > read(best) ? sample : best));
  const top = Math.max(read(peak), 1e-9) * 1.1;
  const x = (sample) => left + ((sample.time - start) / span) * (width - 2 * left);
  const y = (value) => base - (value / top) * (base - 8);
  const points = samples.map((sample) => `${x(sample).toFixed(1)},${y(read(sample)).toFixed(1)}`);
  const words = `${title}: peak ${show(read(peak))}${peak.test ? ` in ${peak.test}` : ""}`;
  return element("figure", { class: "curve" },
    element("figcaption", {}, element("b", {}, title), ` peak ${show(read(peak))}`, peak.test && [" in ", testLink(peak.test)]),
    element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words, preserveAspectRatio: "none" },
      element("line", { x1: left, x2: width - left, y1: base, y2: base, class: "axis" }),
      element("polygon", { points: [`${left},${base}`, ...points, `${x(samples.at(-1)).toFixed(1)},${base}`].join(" ") }),
      element("polyline", { points: points.join(" ") }),
      element("circle", { cx: x(peak), cy: y(read(peak)), r: 3.5 })),
    element("p", { class: "axis-words" }, element("span", {}, "0 s"), element("span", {}, seconds(span))));
}

function stacked(parts, total, label) {
  const said = parts.filter((part) => part.value).map((part) => `${part.word} ${part.shown ?? part.value}`).join(", ");
  return element("span", { class: "stacked", role: "img", "aria-label": `${label}: ${said}` },
    parts.filter((part) => part.value).map((part) => element("i", { class: part.kind, style: `flex-grow:${part.value / total}`, title: `${part.word} ${part.shown ?? part.value}` })));
}

function ganttLane(lane, start, span) {
  const width = 1000, height = 22;
  const canvas = element("canvas", { width: width * 2, height: height * 2, role: "img", "aria-label": `${lane.bars.length} tests on ${lane.worker}, idle ${Math.round(lane.idle * 100)} %` });
  const told = element("output", { class: "told" });
  const at = (bar) => [((bar.start - start) / span) * width, Math.max(((bar.end - bar.start) / span) * width, 0.5)];
  function draw() {
    const colours = getComputedStyle(document.documentElement);
    const pen = canvas.getContext("2d");
    pen.setTransform(2, 0, 0, 2, 0, 0);
    pen.clearRect(0, 0, width, height);
    for (const bar of lane.bars) {
      const [left, wide] = at(bar);
      pen.fillStyle = colours.getPropertyValue(`--${KIND[LETTER[bar.outcome]] ?? "passed"}-bar`);
      pen.fillRect(left, 2, wide > 1.5 ? wide - 0.5 : wide, height - 4);
    }
  }
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const here = start + ((event.clientX - box.left) / box.width) * span;
    const bar = lane.bars.find((each) => each.start <= here && here <= each.end);
    told.textContent = bar ? `${bar.test}  ${seconds(bar.end - bar.start)}` : "";
    canvas.onclick = bar && (() => { location.hash = `test=${encodeURIComponent(bar.test)}`; });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  requestAnimationFrame(draw);
  return element("div", { class: "lane" }, element("span", { class: "who" }, lane.worker), canvas,
    element("span", { class: "number" }, `idle ${Math.round(lane.idle * 100)} %`), lane.died && chip(`died: ${lane.died}`, "bad"), told);
}

function waterfall(phases) {
  const span = Math.max(...phases.map((phase) => phase.start + phase.seconds), 1e-9);
  return element("ol", { class: "waterfall" }, phases.map((phase) => element("li", {},
    element("span", { class: "who" }, phase.name),
    element("span", { class: "track" }, element("i", { class: phase.state === "done" ? "" : "bad", style: `margin-left:${(phase.start / span) * 100}%;width:${Math.max((phase.seconds / span) * 100, 0.4)}%` })),
    element("span", { class: "number" }, seconds(phase.seconds)))));
}
