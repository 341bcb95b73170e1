// Why it is red: few causes, then under each what fell, how to see it again, and since when.
function failures(report) {
  const about = "Grouped by cause, the most telling first. Infrastructure is not your code's fault; unknown is said rather than guessed.";
  if (!report.failures.length) return panel("failures", "Failures", about, nothing("None."));
  const groups = report.causes.map((cause, index) => ({ cause, fell: report.failures.filter((failure) => failure.cause === index) }));
  const alone = report.failures.filter((failure) => failure.cause === null || failure.cause === undefined);
  if (alone.length) groups.push({ cause: { title: "No cause was found for these", category: "unknown", fault: "unknown", confidence: 0, where: "", next_command: "" }, fell: alone });
  return panel("failures", "Failures", about, groups.filter((group) => group.fell.length).map(causeCard));
}

function causeCard({ cause, fell }) {
  const fault = { infrastructure: "infrastructure", test: "the test", code: "the code" }[cause.fault] ?? "unknown";
  return element("article", { class: "cause" },
    element("h3", {}, cause.title),
    element("p", { class: "chips" }, chip(cause.category, "bad"), chip(`fault: ${fault}`), cause.confidence ? chip(`${Math.round(cause.confidence * 100)} % sure`) : null, chip(counted(fell.length, "test"))),
    cause.where && element("small", {}, "first seen at ", element("code", {}, cause.where)),
    cause.next_command && element("p", { class: "next" }, "Next:"), command(cause.next_command),
    few(fell, fallen, 5));
}

function fallen(failure) {
  return element("details", {},
    element("summary", {}, element("span", { class: `cell ${KIND[LETTER[failure.outcome]]}` }, OUTCOMES[LETTER[failure.outcome]].mark), " ", testLink(failure.test),
      element("small", {}, failure.message)),
    failure.quarantine && element("p", {}, failure.quarantine),
    failure.history && element("p", {}, strip(failure.history), failure.since_commit && ` since ${shortened(failure.since_commit)}`),
    element("p", { class: "facts" }, [`fell in ${failure.phase || "no phase"}`, `on ${failure.worker}`, counted(failure.attempts, "attempt"), seconds(failure.seconds)].map((fact) => element("span", {}, fact))),
    command(failure.reproduce),
    failure.detail && element("pre", { tabindex: 0 }, failure.detail));
}

function details(report, test) {
  const result = report.results.find((each) => each.id === test);
  const failure = report.failures.find((each) => each.test === test);
  const row = report.matrix.tests.indexOf(test);
  const unsteady = report.flaky.find((each) => each.test === test);
  if (!result && row < 0) return [element("h2", {}, "No such test"), nothing(`${test} is neither in this run nor in the history that this page carries.`)];
  const letter = result ? LETTER[result.outcome] : " ";
  return [
    element("h2", {}, test),
    element("p", { class: "chips" }, chip(OUTCOMES[letter].word, { F: "bad", E: "bad", R: "fair", "-": "bad" }[letter] ?? ""), unsteady && chip(unsteady.steadiness, "fair"), result?.quarantined && chip("quarantined")),
    result?.reason && element("p", {}, result.reason),
    row >= 0 && element("p", {}, strip(report.matrix.cells[row]), element("small", {}, `the last ${counted(report.matrix.runs.length, "run")}, oldest first`)),
    result && table(["phase", { title: "time", number: true }], [["set-up", seconds(result.setup)], ["call", seconds(result.call)], ["tear-down", seconds(result.teardown)], ["worker", result.worker]], "Where its time went"),
    failure && [command(failure.reproduce), failure.detail && element("pre", { tabindex: 0 }, failure.detail)],
  ];
}
