/** The service over HTTP: its answers, its problems in its own words, and what time it is there. */

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Asks the service; throws a `Problem` that reads well, also when nobody answers (its status is 0 then). */
export async function ask(path, { token, body, headers = {}, method = body ? "POST" : "GET", accept = [] } = {}) {
  const sent = Date.now();
  let response;
  try {
    response = await fetch(path, {
      method,
      body: body && JSON.stringify(body),
      headers: {
        ...(token && { Authorization: `Bearer ${token}` }),
        ...(body && { "Content-Type": "application/json" }),
        ...headers,
      },
      signal: AbortSignal.timeout(10_000),
    });
  } catch {
    throw new Problem(0, "The service does not answer. Is it running?");
  }
  compareClocks(sent, response.headers.get("Date"));
  const answer = await response.json().catch(() => null);
  if (response.ok || accept.includes(response.status)) return answer;
  throw new Problem(response.status, answer?.detail ?? `The service answered ${response.status}.`);
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
