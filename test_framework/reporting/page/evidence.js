// The event path as the tests saw it, the CI's own health, and how far all these numbers can be trusted.
const EVENT_COLOURS = 8; // style.css has as many; with more types than colours, they are used again

function eventPath(report) {
  const about = "What was committed must be what was published and what was received, each event once, in order, and for nobody else.";
  const { events, isolation, startups, deliveries } = report;
  if (!events.length && !isolation.length && !startups.length && !deliveries.length) return panel("events", "Event path", about, nothing("No test of this run told of its events."));
  const uneven = deliveries.filter((each) => !(each.committed === each.published && each.published === each.received));
  const types = [...new Set([...report.event_types, ...events.flatMap((lane) => lane.events.map((event) => event.type))])];
  const sum = (key) => deliveries.reduce((total, each) => total + each[key], 0);
  return panel("events", "Event path", about,
    deliveries.length ? element("p", { class: "sums" }, ["committed", "published", "received"].map((key) => element("span", {}, element("b", {}, sum(key).toLocaleString("en")), ` ${key}`)), uneven.length ? chip(`${counted(uneven.length, "test")} uneven`, "bad") : chip("equal in every test", "good")) : null,
    uneven.length ? few(uneven, (each) => [testLink(each.test), element("small", {}, `${each.committed} committed, ${each.published} published, ${each.received} received`)]) : null,
    events.length ? [element("h3", {}, "Runs"), element("ul", { class: "legend" }, types.map((type) => element("li", {}, element("i", { class: eventColour(types, type) }), type))), few(events, (lane) => eventLane(lane, types), 8)] : null,
    isolation.length ? [element("h3", {}, "Isolation"), element("div", { class: "columns" }, isolation.slice(0, 6).map(matrixOf))] : null,
    startups.length ? [element("h3", {}, "Start-up"), few(startups, (startup) => [testLink(startup.test), waterfall(startup.phases)], 2)] : null);
}

function eventColour(types, type) {
  return `type-${types.indexOf(type) % EVENT_COLOURS}`;
}

function eventLane(lane, types) {
  const times = lane.events.flatMap((event) => [event.committed, event.published, event.received]).filter((time) => time !== null && time !== undefined);
  const start = Math.min(...times), span = Math.max(...times) - start || 1e-9;
  const at = (event) => event.received ?? event.published ?? event.committed;
  const late = lane.events.filter((event) => event.received && event.committed).map((event) => event.received - event.committed);
  return element("div", { class: "lane" }, testLink(lane.test), lane.user && element("small", {}, lane.user),
    element("span", { class: "track events", role: "img", "aria-label": lane.events.map((event) => event.type).join(", ") }, lane.events.map((event, index) => element("i", { class: eventColour(types, event.type), title: `${event.seq} ${event.type}`, style: `left:${times.length ? ((at(event) - start) / span) * 98 : (index / lane.events.length) * 98}%` }))),
    late.length ? element("span", { class: "number" }, `≤ ${seconds(Math.max(...late))}`) : null);
}

function matrixOf(matrix) {
  const strays = matrix.seen.flatMap((row, i) => row.filter((count, j) => i !== j && count)).length;
  const shown = Math.min(matrix.users.length, 24);
  return element("article", {}, element("h4", {}, testLink(matrix.test)), chip(strays ? counted(strays, "stray") : "nobody saw another's", strays ? "bad" : "good"),
    element("div", { class: "square", role: "img", "aria-label": `${matrix.users.length} users, ${strays} strays`, style: `grid-template-columns:repeat(${shown},1fr)` },
      matrix.seen.slice(0, shown).flatMap((row, i) => row.slice(0, shown).map((count, j) => element("i", { class: count ? (i === j ? "own" : "stray") : "", title: `${matrix.users[i]} received ${count} of ${matrix.users[j]}` })))),
    matrix.users.length > shown && element("small", {}, `the first ${shown} of ${matrix.users.length} users`));
}

function ciHealth(report) {
  const runs = report.matrix.runs;
  const longest = Math.max(...runs.map((run) => run.seconds ?? 0), 1e-9);
  const kinds = { "all green": "passed", attention: "retried", red: "failed" };
  const green = runs.filter((run) => run.colour !== "red").length;
  const newest = runs.at(-1);
  return panel("ci", "Health over time", runs.length ? `${green} of ${counted(runs.length, "run")} were not red; the last began ${moment(newest.started)}.` : "How the runs before this one went.",
    runs.length ? element("div", { class: "columns-of-runs", role: "img", "aria-label": `${green} of ${runs.length} runs were not red` }, runs.map((run) => element("i", { class: `${kinds[run.colour]} ${run.complete ? "" : "incomplete"}`, style: `height:${Math.max(((run.seconds ?? 0) / longest) * 100, 4)}%`, title: `${moment(run.started)} ${run.branch} @ ${shortened(run.commit)}: ${run.colour}, ${seconds(run.seconds)}${run.infrastructure ? ", infrastructure" : ""}${run.complete ? "" : ", incomplete"}` }))) : nothing("No earlier run is known."),
    rates(report),
    report.alerts.length ? [element("h3", {}, "Alerts"), table(["alert", "state", "since", "told"], report.alerts.map((alert) => [alert.link ? element("a", { href: alert.link }, alert.title) : alert.title, chip(alert.state, alert.state === "recovered" ? "good" : "bad"), moment(alert.since), moment(alert.told)]), "Alerts")] : nothing("No alert is open."));
}

const SHOWN_DAYS = 14, SHOWN_AREAS = 15;

function rates(report) {
  const { days, areas } = report.rates;
  if (!days.length) return null;
  const share = (part, whole) => (whole ? (100 * part) / whole : null);
  const passed = days.map((day) => share(day.judged - day.failed, day.judged)), flaky = days.map((day) => share(day.flaky, day.tests));
  const failing = areas.filter((area) => area.failed.some(Boolean));
  const since = Math.max(0, days.length - SHOWN_DAYS);
  const cell = (area, index) => (area.failed[index] ? `${area.failed[index]} of ${area.judged[index]}` : "");
  return [element("h3", {}, "Rates by day"),
    table(["what", "days", { title: "last day", number: true }], [["tests that pass", passed], ["flaky tests", flaky]].map(([title, values]) => [title, line(values, { unit: "%", label: title, width: 200 }), measured(values.at(-1), "%")]), "Rates by day"),
    failing.length ? [element("h3", {}, "Failures by area and day"), table(["area", ...days.slice(since).map((day) => ({ title: day.day.slice(5), number: true }))],
      failing.slice(0, SHOWN_AREAS).map((area) => [area.area, ...days.slice(since).map((_, index) => cell(area, since + index))]), "Failures by area and day")] : null];
}

function trust(report) {
  const { shards, doubled, skips, warnings, problems, quarantine, interventions } = report.trust;
  const rows = shards.map((shard) => [
    `${shard.shard} of ${Math.max(shards.length, report.run.shards)}`, shard.missing ? chip("no record", "bad") : shard.complete ? chip("complete", "good") : chip("incomplete", "bad"),
    shard.collected, shard.ran, shard.collected - shard.ran, shard.deselected, shard.workers, shard.superseded ? `${shard.superseded} earlier` : ""]);
  const list = (title, items, draw = (item) => item, kind = "") => items.length ? element("article", {}, element("h3", {}, `${title} `, chip(String(items.length), kind)), few(items, draw, 5)) : null;
  return panel("trust", "Can this be trusted?", "What was collected, what ran, what was left out and why. A number that is missing is said to be.",
    table(["shard", "record", { title: "collected", number: true }, { title: "ran", number: true }, { title: "did not", number: true }, { title: "deselected", number: true }, { title: "workers", number: true }, "attempts"], rows, "Shards"),
    element("div", { class: "columns" }, list("Wrong with the records", problems, undefined, "bad"), list("Ran in two shards", doubled, testLink, "bad"),
      list("Skipped", skips, (skip) => [skip.reason, element("small", {}, counted(skip.tests.length, "test"))]), list("Warnings", warnings), list("Quarantine", quarantine)),
    element("p", { class: "about" }, interventions === null || interventions === undefined ? "This run had no services." : `${counted(interventions, "service")} could not be brought up without a person.`, report.record && ` The records lie in ${report.record}.`));
}
