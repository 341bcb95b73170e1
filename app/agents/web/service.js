/** HTTP requests to the service, its problem details, and an estimate of its clock. */

const RETRY_AFTER = [300, 900];

export class Problem extends Error {
  /** `errors` names the invalid fields, each with the rule that it broke. */
  constructor(status, detail, errors = []) {
    super([detail, errors.map(({ where, why }) => `${where.at(-1)}: ${why}`).join("; ")].filter(Boolean).join(": "));
    this.status = status;
  }
}

/** Sends a request; throws a `Problem` with a readable message, of status 0 where there is no answer. */
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

/** Retries: browsers abort requests when any network of the machine changes. All requests here are idempotent. */
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

/** Narrows by the `Date` of each answer how far this clock can be ahead; servers write it in whole seconds, and update
 *  it once a second. */
function compareClocks(sent, date) {
  const there = Date.parse(date);
  if (Number.isNaN(there)) return;
  const bounds = [sent - there - DATE_MAY_LAG, Date.now() - there];
  [leastAhead, mostAhead] = [Math.max(leastAhead, bounds[0]), Math.min(mostAhead, bounds[1])];
  if (leastAhead > mostAhead) [leastAhead, mostAhead] = bounds;
}

/** The service's time in milliseconds; clocks that may agree are assumed to agree. */
export function serviceTime() {
  return Date.now() - Math.min(Math.max(0, leastAhead), mostAhead);
}
