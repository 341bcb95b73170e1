/**
 * A user's events as they happen, each of them once, over a socket that may break at any moment.
 *
 *     const events = connect({ url: "/ws", token, after: 0, onEvent: (event, { replayed }) => …, onState });
 *     events.pause(); events.resume(); events.close(); events.cursor; // resume also ends a wait
 *
 * `after` is the last seq already seen: 0 for everything, undefined for what is to come. After every break the client
 * comes back with its cursor and is sent what it missed; an event it has seen is dropped. An event is `replayed` when
 * it happened before the connection that brought it, by the service's own clock.
 *
 * States are `{ phase, cursor, … }`: connecting; live (`resumed`); waiting (`wait` in ms, `reason`); paused; refused
 * (`code`, `reason`: 4401 wants another token); reset (the service does not know the cursor: all events come again);
 * closed.
 */
const FIRST_WAIT = 250;
const LONGEST_WAIT = 15_000;
const HELLO_WITHIN = 10_000;
const PING_EVERY = 15_000;
const PONG_WITHIN = 8_000;
const Close = { TRY_LATER: 1013, BAD_MESSAGE: 4400, UNAUTHENTICATED: 4401, UNKNOWN_CURSOR: 4410, TOO_MANY: 4429 };

export function connect({ url, token, after, onEvent, onState = () => {} }) {
  const address = new URL(url, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  let [cursor, phase, socket, timer, failures, since, connections] = [after, "", null, 0, 0, 0, 0];

  function tell(next, details = {}) {
    phase = next;
    onState({ phase, cursor, ...details });
  }

  function later(milliseconds, action) {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  }

  function open() {
    const own = (socket = new WebSocket(address));
    later(HELLO_WITHIN, () => lost(0, "no answer"));
    own.onopen = () => own.send(JSON.stringify({ token, after: cursor, joined: true }));
    own.onclose = ({ code, reason }) => own === socket && lost(code, reason);
    own.onmessage = ({ data }) => {
      for (const line of data.split("\n")) if (own === socket) take(JSON.parse(line));
    };
    tell("connecting");
  }

  function take(message) {
    later(PING_EVERY, ping);
    if (message.type === "hello") {
      [cursor, failures, since] = [message.cursor, 0, Date.parse(message.at)];
      tell("live", { resumed: connections++ > 0 });
    } else if (message.seq > cursor) {
      cursor = message.seq;
      try {
        onEvent(message, { replayed: Date.parse(message.at) < since });
      } catch (error) {
        reportError(error);
      }
    }
  }

  function ping() {
    socket.send('{"type":"ping"}');
    later(PONG_WITHIN, () => lost(0, "no answer"));
  }

  function drop() {
    clearTimeout(timer);
    const dropped = socket;
    socket = null;
    dropped?.close();
  }

  function lost(code, reason) {
    drop();
    if (code === Close.UNAUTHENTICATED || code === Close.BAD_MESSAGE) return tell("refused", { code, reason });
    if (code === Close.UNKNOWN_CURSOR) {
      cursor = 0;
      tell("reset", { reason });
    }
    const patience = code === Close.TRY_LATER || code === Close.TOO_MANY ? 8 : 1;
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * patience * 2 ** failures++) * (0.5 + Math.random() / 2);
    later(wait, open);
    tell("waiting", { wait, code, reason });
  }

  function leave(next) {
    drop();
    tell(next);
  }

  const hurry = () => phase === "waiting" && open();
  addEventListener("online", hurry);
  open();
  return {
    get cursor() {
      return cursor;
    },
    pause: () => leave("paused"),
    resume: () => (phase === "paused" || phase === "waiting") && open(),
    close() {
      removeEventListener("online", hurry);
      leave("closed");
    },
  };
}
