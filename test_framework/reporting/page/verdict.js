// What a reader wants first: is it green, why not, what do I do, and what is different from last time.
function head(report) {
  const { run, verdict, counts } = report;
  const parts = [
    { word: "passed", kind: "passed", value: counts.passed + counts.xpassed },
    { word: "passed after retry", kind: "retried", value: counts.retried },
    { word: "failed", kind: "failed", value: counts.failed },
    { word: "error", kind: "error", value: counts.errors },
    { word: "quarantined", kind: "quarantined", value: counts.quarantined },
    { word: "skipped or expected to fail", kind: "skipped", value: counts.skipped + counts.xfailed },
    { word: "not run", kind: "missing", value: counts.not_run },
  ];
  const facts = [
    run.mode, run.provider && `services: ${run.provider}`,
    run.branch && `${run.branch} @ ${shortened(run.commit)}${run.dirty ? " and uncommitted changes" : ""}`,
    run.seed && `seed ${run.seed}`, run.workers ? counted(run.workers, "worker") : "", run.shards > 1 && counted(run.shards, "shard"),
    run.python && `Python ${run.python}`, run.system,
    run.ended ? seconds(run.ended - run.started) : "did not end", moment(run.started),
  ].filter(Boolean);
  const kind = { "all green": "good", attention: "fair", red: "bad" }[verdict.colour];
  return element("header", { class: kind },
    element("p", { class: "state" }, element("span", { class: "lamp", "aria-hidden": "true" }, element("span", {}, { good: "✓", fair: "!", bad: "✗" }[kind])), verdict.colour),
    element("h1", {}, verdict.reason),
    !verdict.next_command.startsWith("invoke report.open") && command(verdict.next_command),
    stacked(parts, counts.collected || 1, "outcomes"),
    element("ul", { class: "legend" }, parts.filter((part) => part.value).map((part) => element("li", {}, element("i", { class: part.kind }), `${part.value.toLocaleString("en")} ${part.word}`))),
    element("p", { class: "facts" }, facts.map((fact) => element("span", {}, fact)), run.link && element("a", { href: run.link }, "the run in CI")));
}

function gates(report) {
  if (!report.gates.length) return panel("gates", "Gates", "Measured values against their limits.", nothing("No gate is configured."));
  const words = { held: ["held", "good"], broken: ["broken", "bad"], "no data": ["no data", ""] };
  const rows = report.gates.map((gate) => [
    element("span", { title: gate.how }, gate.title, element("small", {}, gate.how)),
    measured(gate.value, gate.unit),
    `${gate.at_least ? "≥" : "≤"} ${measured(gate.limit, gate.unit)}`,
    element("span", {}, `${gate.at_least ? "≥" : "≤"} ${measured(gate.target, gate.unit)}`, gate.on_target === false && chip("off", "fair")),
    line([...gate.past, gate.value], { limit: gate.limit, unit: gate.unit, label: gate.title }),
    element("span", {}, chip(...words[gate.state]), gate.distance && element("small", {}, gate.distance), gate.evidence.slice(0, 5).map((found) => element("small", {}, found))),
  ]);
  return panel("gates", "Gates", "A broken limit ends the run with exit code 12; the target only shows.",
    table(["what", { title: "measured", number: true }, { title: "limit", number: true }, { title: "target", number: true }, "last runs", "verdict"], rows, "Gates with measured values, limits and verdicts"));
}

function changes(report) {
  const base = report.baseline;
  const about = base ? `Compared with the run of ${moment(base.started)} on ${base.branch} @ ${shortened(base.commit)}.` : "Compared with the last run of the same kind.";
  if (!base) return panel("changes", "What changed", about, nothing("This is the first run that the history knows of."));
  if (!report.changes.length) return panel("changes", "What changed", about, nothing("Nothing: the same tests came to the same ends."));
  const kinds = [...new Set(report.changes.map((change) => change.kind))];
  const bad = new Set(["newly failing", "removed", "newly skipped", "newly flaky", "slower"]);
  return panel("changes", "What changed", about, element("div", { class: "columns" }, kinds.map((kind) => {
    const those = report.changes.filter((change) => change.kind === kind);
    return element("article", {}, element("h3", {}, `${kind} `, chip(String(those.length), bad.has(kind) ? "bad" : "good")),
      few(those, (change) => [testLink(change.test), element("small", {}, `${change.before} → ${change.after}`)], 6));
  })));
}
