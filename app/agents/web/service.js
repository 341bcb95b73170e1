/** The service over HTTP: its answers, its problems in its own words, and what time it is there. */

const RETRY_AFTER = [300, 900];

export class Problem extends Error {
  /** `errors` names the fields at fault, each with the rule that it broke. */
  constructor(status, detail, errors = []) {
    super([detail, errors.map(({ where, why }) => `${where.at(-1)}: ${why}`).join("; ")].filter(Boolean).join(": "));
    this.status = status;
  }
}

/** Asks the service; throws a `Problem` that reads well, also when nobody answers (its status is 0 then). */
export async function ask(path, { token, body, headers = {}, method = body ? "POST" : "GET", accept = [] } = {}) {
  const response = await fetchAgain(path, {
    method,
    body: body && JSON.stringify(body),
    headers: {
      ...(token && { Authorization: `Bearer ${token}` }),
      ...(body && { "Content-Type": "application/json" }),
      ...headers,
    },
  });
  const answer = await response.json().catch(() => null);
  if (response.ok || accept.includes(response.status)) return answer;
  throw new Problem(response.status, answer?.detail ?? `The service answered ${response.status}.`, answer?.errors);
}

/** Browsers give a request up when any network of the machine comes or goes; all that is asked here may be repeated. */
async function fetchAgain(path, request, [pause, ...later] = RETRY_AFTER) {
  const sent = Date.now();
  try {
    const response = await fetch(path, { ...request, signal: AbortSignal.timeout(10_000) });
    compareClocks(sent, response.headers.get("Date"));
    return response;
  } catch (failure) {
    if (!pause || failure.name === "TimeoutError") throw new Problem(0, "The service does not answer. Is it running?");
  }
  await new Promise((resolve) => setTimeout(resolve, pause));
  return fetchAgain(path, request, later.length ? later : [0]);
}

let [leastAhead, mostAhead] = [-Infinity, Infinity];
const DATE_MAY_LAG = 2000;

/** Every answer says what time it is there, so each narrows how far this clock can be ahead; servers write the date
 *  in whole seconds, and anew only once a second. */
function compareClocks(sent, date) {
  const there = Date.parse(date);
  if (Number.isNaN(there)) return;
  const bounds = [sent - there - DATE_MAY_LAG, Date.now() - there];
  [leastAhead, mostAhead] = [Math.max(leastAhead, bounds[0]), Math.min(mostAhead, bounds[1])];
  if (leastAhead > mostAhead) [leastAhead, mostAhead] = bounds;
}

/** The service's time in milliseconds; clocks that may agree are taken to agree. */
export function serviceTime() {
  return Date.now() - Math.min(Math.max(0, leastAhead), mostAhead);
}
