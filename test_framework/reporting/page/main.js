// Put the panels up, and follow the address: #test=… opens a test, #q=…&show=… filters, #gates goes there.
const report = JSON.parse(document.getElementById("report").textContent);
const sheet = element("dialog", { "aria-label": "One test", onclose: leave, onclick: (event) => event.target === sheet && sheet.close() });
const tests = heatMap(report, (test) => { location.hash = `test=${encodeURIComponent(test)}`; });
const panels = [failures(report), changes(report), gates(report), tests.made, flaky(report), time(report), resources(report), eventPath(report), ciHealth(report), trust(report)];
const titles = panels.map((each) => element("li", {}, element("a", { href: `#${each.id}` }, each.querySelector("h2").textContent)));

document.title = `${report.verdict.colour}: ${report.run.mode || "tests"} ${moment(report.run.started)}`;
document.body.append(head(report), element("nav", { "aria-label": "Panels" }, element("ul", {}, titles)), element("main", {}, panels),
  element("footer", {}, `Computed ${moment(report.generated)} out of ${report.record || "its records"}.`), sheet);
tests.apply();

function follow() {
  const asked = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  if (asked.has("q") || asked.has("show")) {
    tests.search.value = asked.get("q") ?? "";
    if (SHOWN[asked.get("show")]) tests.show.value = asked.get("show");
    tests.apply();
    tests.made.scrollIntoView();
  }
  if (!asked.has("test")) return sheet.open && sheet.close();
  sheet.replaceChildren(element("form", { method: "dialog" }, element("button", { class: "close", "aria-label": "Close" }, "×")), ...details(report, asked.get("test")).flat(Infinity).filter(Boolean));
  if (!sheet.open) sheet.showModal();
}

function leave() {
  if (location.hash.startsWith("#test=")) history.replaceState(null, "", location.pathname + location.search);
}

addEventListener("hashchange", follow);
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, select, textarea") || sheet.open) return;
  event.preventDefault();
  tests.search.focus();
});
follow();
