// Every test against every run: scattered marks are flakes, a column is infrastructure, a row that ends in F is broken.
const SHOWN = { all: () => true, red: (row) => "FE-".includes(row.letter), retried: (row) => row.letter === "R", skipped: (row) => "sx".includes(row.letter), unsteady: (row) => /[FERQ]/.test(row.cells) && /[.RsX]/.test(row.cells), quarantined: (row) => row.letter === "Q" };
const ORDER = { name: (a, b) => (a.test < b.test ? -1 : 1), slowest: (a, b) => b.seconds - a.seconds, "red first": (a, b) => worth(b) - worth(a) || (a.test < b.test ? -1 : 1) };

function worth(row) {
  return "FE-".includes(row.letter) ? 3 : row.letter === "R" || row.letter === "Q" ? 2 : /[FER]/.test(row.cells) ? 1 : 0;
}

function heatMap(report, open) {
  const current = new Map(report.results.map((result) => [result.id, result]));
  const { tests, cells, runs } = report.matrix;
  const rows = tests.map((test, index) => {
    const now = current.get(test);
    return { test, cells: cells[index], seconds: now ? now.setup + now.call + now.teardown : report.matrix.seconds[index] ?? 0, letter: now ? LETTER[now.outcome] : " ", worker: now?.worker ?? "" };
  });
  const known = new Set(tests);
  for (const result of report.results) if (!known.has(result.id)) rows.push({ test: result.id, cells: LETTER[result.outcome], seconds: result.setup + result.call + result.teardown, letter: LETTER[result.outcome], worker: result.worker });

  const list = longList({ label: "Tests against runs", open: (row) => open(row.test), draw: (row) => [
    element("span", { class: "name", title: row.test }, named(row.test).name, " ", element("span", { class: "where" }, named(row.test).file)),
    element("span", { class: "strip", "aria-label": `now ${OUTCOMES[row.letter].word}` }, [...row.cells].map((letter, index) => element("i", { class: `cell ${KIND[letter]}`, title: runs[index] && `${moment(runs[index].started)} ${shortened(runs[index].commit)}: ${OUTCOMES[letter].word}` }, OUTCOMES[letter].mark))),
    element("span", { class: "number" }, seconds(row.seconds))],
    empty: "No test answers to that." });

  const search = element("input", { type: "search", placeholder: "part of a name, words in any order", "aria-label": "Search tests", name: "q" });
  const show = choice("show", Object.keys(SHOWN));
  const order = choice("order", Object.keys(ORDER));
  order.value = "red first";
  const workers = [...new Set(rows.map((row) => row.worker))].filter(Boolean).sort();
  const worker = choice("worker", ["every worker", ...workers]);
  const told = element("output", { class: "count" });

  function apply() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = rows.filter((row) => SHOWN[show.value](row) && (worker.selectedIndex < 1 || row.worker === worker.value) && words.every((word) => row.test.toLowerCase().includes(word)));
    list.show(kept.sort(ORDER[order.value]));
    told.textContent = kept.length === rows.length ? counted(kept.length, "test") : `${kept.length.toLocaleString("en")} of ${counted(rows.length, "test")}`;
  }
  search.addEventListener("input", apply);
  for (const control of [show, order, worker]) control.addEventListener("change", apply);

  const made = panel("tests", "Tests × runs", `A row is a test, a column a run, oldest first. Scattered marks are flakes, a full column is infrastructure, a row that ends in F is broken. / searches, arrows walk, Enter opens.`,
    element("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() }, search, show, order, workers.length > 1 && worker, told),
    element("p", { class: "legend" }, [".", "R", "F", "E", "Q", "s", "-"].map((letter) => element("span", {}, element("i", { class: `cell ${KIND[letter]}` }, OUTCOMES[letter].mark), OUTCOMES[letter].word))),
    list.box);
  return { made, apply, search, show };
}

function choice(name, words) {
  return element("select", { name, "aria-label": name }, words.map((word) => element("option", { value: word }, word)));
}

function flaky(report) {
  const about = "Mixed outcomes on the same code, or passed only after a retry. The interval is what the flip rate may really be (Wilson, 95 %).";
  if (!report.flaky.length) return panel("flaky", "Unsteady tests", about, nothing("None that the history knows of."));
  const kind = { flaky: "fair", broken: "bad", infrastructure: "", "not enough data": "" };
  return panel("flaky", "Unsteady tests", about, table(
    ["test", "verdict", { title: "flip rate", number: true }, { title: "falls", number: true }, { title: "same commit", number: true }, { title: "retried", number: true }, { title: "time lost", number: true }],
    report.flaky.slice(0, 200).map((each) => [[testLink(each.test), element("small", {}, strip(each.history.slice(-40))), each.owner && element("small", {}, `in quarantine with ${each.owner} until ${each.expires}${each.days_left === null ? "" : `, ${counted(each.days_left, "day")} left`}`)], chip(each.steadiness, kind[each.steadiness] ?? ""),
      `${Math.round(each.flip_rate * 100)} % (${Math.round(each.low * 100)}–${Math.round(each.high * 100)})`, `${each.falls} of ${each.runs}`, each.same_commit, each.retried, seconds(each.lost_seconds)]), "Unsteady tests"));
}
