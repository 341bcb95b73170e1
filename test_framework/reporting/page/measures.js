// Where time and machine went: durations, workers, trends, resources, services.
function time(report) {
  const { durations, lanes, trends } = report;
  const start = Math.min(...lanes.map((lane) => lane.start)), end = Math.max(...lanes.map((lane) => lane.end));
  const slowest = durations.slowest;
  const longest = Math.max(...slowest.map((test) => test.setup + test.call + test.teardown), 1e-9);
  const busy = lanes.reduce((sum, lane) => sum + lane.busy_seconds, 0);
  return panel("time", "Time", `The suite took ${seconds(durations.suite_seconds)}; half of the tests took less than ${seconds(durations.p50)}, 95 of 100 less than ${seconds(durations.p95)}.`,
    element("p", {}, stacked([
      { word: "set-up", kind: "setup", value: durations.setup_seconds, shown: seconds(durations.setup_seconds) },
      { word: "call", kind: "call", value: durations.call_seconds, shown: seconds(durations.call_seconds) },
      { word: "tear-down", kind: "teardown", value: durations.teardown_seconds, shown: seconds(durations.teardown_seconds) }],
    durations.setup_seconds + durations.call_seconds + durations.teardown_seconds || 1, "where the time of all tests went")),
    element("ul", { class: "legend" }, [["setup", "set-up", durations.setup_seconds], ["call", "call", durations.call_seconds], ["teardown", "tear-down", durations.teardown_seconds]].map(([kind, word, value]) => element("li", {}, element("i", { class: kind }), `${word} ${seconds(value)}`))),
    trends.length ? [element("h3", {}, "Trends"), table(["what", "last runs", { title: "usually", number: true }, { title: "lately", number: true }, "verdict"],
      trends.map((trend) => [element("span", { class: "title" }, trend.title, element("small", {}, trend.reason)), line(trend.values, { unit: trend.unit, label: trend.title, width: 200 }), measured(trend.baseline, trend.unit), measured(trend.recent, trend.unit),
        chip(trend.worse ? "worse" : "steady", trend.worse ? "bad" : "good")]), "Trends against the baseline")] : null,
    slowest.length ? [element("h3", {}, "Slowest"), few(slowest, (test) => {
      const total = test.setup + test.call + test.teardown;
      return element("div", { class: "slow" }, testLink(test.test), element("span", { class: "track" }, element("span", { style: `width:${(total / longest) * 100}%` }, stacked([{ word: "set-up", kind: "setup", value: test.setup, shown: seconds(test.setup) }, { word: "call", kind: "call", value: test.call, shown: seconds(test.call) }, { word: "tear-down", kind: "teardown", value: test.teardown, shown: seconds(test.teardown) }], total || 1, test.test))),
        element("span", { class: "number" }, seconds(total), test.usual !== null && element("small", {}, `usually ${seconds(test.usual)}`)));
    }, 10)] : null,
    lanes.length ? [element("h3", {}, "Workers"), element("p", { class: "about" }, `Perfectly shared out, the tests would have taken ${seconds(busy / lanes.length)} on ${counted(lanes.length, "worker")}.`),
      [...new Set(lanes.map((lane) => lane.shard))].map((shard) => element("div", { class: "gantt" }, report.run.shards > 1 && element("h4", {}, `shard ${shard}`), lanes.filter((lane) => lane.shard === shard).map((lane) => ganttLane(lane, start, end - start || 1))))] : nothing("The record says nothing of its workers."));
}

function resources(report) {
  const about = "All processes of the run and the services that it started, containers included, about once a second.";
  const drawn = report.resources.filter((curves) => curves.samples.length > 1);
  const services = report.services.length ? table(["service", { title: "start", number: true }, { title: "healed", number: true }],
    report.services.map((service) => [service.name, seconds(service.start_seconds), service.healed]), "Services") : nothing("This run started no service.");
  return panel("resources", "Machine and services", about,
    drawn.length ? drawn.map((curves) => element("div", { class: "curves" }, report.run.shards > 1 && element("h3", {}, `shard ${curves.shard}`),
      curve(curves.samples, (sample) => sample.memory_bytes, { title: "Memory", show: bytes }),
      curves.samples.some((sample) => sample.services_bytes) && curve(curves.samples, (sample) => sample.services_bytes, { title: "Memory in containers", show: bytes }),
      curve(curves.samples, (sample) => sample.cpu, { title: "Processor", show: (value) => `${Math.round(value)} %` }),
      curve(curves.samples, (sample) => sample.files, { title: "Open files", show: (value) => counted(value, "file") }),
      curve(curves.samples, (sample) => sample.connections, { title: "Connections", show: (value) => counted(value, "connection") }))) : nothing("The run was too short to be sampled."),
    element("h3", {}, "Services"), services,
    element("p", { class: "about" }, `Cleaning up took ${seconds(report.cleanup_seconds)}.`),
    report.leaks.length ? [element("h3", {}, "Leaks"), few(report.leaks, (leak) => [testLink(leak.test), element("small", {}, leak.what)])] : nothing("No test leaked."));
}
