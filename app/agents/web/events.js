/**
 * The events of any number of streams, each once and in order, over a socket that may break at any time.
 *
 *     const events = connect({ url: "/ws", token, watch: { "lot:42": 0, "user:ada": null }, onEvent, onState, onEnd });
 *     events.pause(); events.resume(); events.close(); // resume also ends a wait
 *     connect({ ...events.from, url, token: another }); // continues at its cursors
 *
 * `watch` gives each stream its cursor: the last seq already seen, 0 for everything, null for later events only. Instead
 * of `watch`, `after` is the cursor of the user's own stream. A stream's cursor moves before `onEvent(event,
 * { replayed })` is called. After every break the client reconnects with all cursors and gets the events that it missed;
 * an event that it has seen is dropped. An event is `replayed` when it came before the server's `live` message.
 *
 * States are `{ phase, streams, … }`, where `streams` are the cursors: connecting; replaying (`resumed`); live, when all
 * replays are complete; waiting (`wait` in ms, `reason`); paused; refused (`code`, `reason`: 4401 wants another token);
 * reset (`stream`, `reason`: the service does not know its cursor, so all its events come again); closed.
 *
 * `onEnd({ stream, code, reason })` is called when one stream has ended, while the others go on.
 */
const FIRST_WAIT = 250;
const LONGEST_WAIT = 15_000;
const HELLO_WITHIN = 10_000;
const PING_EVERY = 15_000;
const PONG_WITHIN = 8_000;
const [TRY_LATER, UNKNOWN_CURSOR, TOO_MANY] = [1013, 4410, 4429];
/** Not a message, an invalid token, no right to watch, no such stream: reconnecting would not help. */
const REFUSALS = [4400, 4401, 4403, 4404];

export function connect({ url, token, watch, after, onEvent, onState = () => {}, onEnd = () => {} }) {
  const address = new URL(url, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const replaying = new Set();
  let from = watch ? { watch: { ...watch } } : { after };
  let [phase, socket, timer, failures, connections] = ["", null, 0, 0, 0];

  function enter(next, details = {}) {
    phase = next;
    onState({ phase, streams: { ...from.watch }, ...details });
  }

  function later(milliseconds, action) {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  }

  function open() {
    const own = (socket = new WebSocket(address));
    later(HELLO_WITHIN, () => lost(0, "no answer"));
    own.onopen = () => own.send(JSON.stringify({ token, ...from, joined: true }));
    own.onclose = ({ code, reason }) => own === socket && lost(code, reason);
    own.onmessage = ({ data }) => {
      for (const line of data.split("\n")) if (own === socket) take(JSON.parse(line));
    };
    enter("connecting");
  }

  /** Takes a message: one with a seq is an event, and one of an unknown type is ignored. */
  function take(message) {
    later(PING_EVERY, ping);
    if (message.seq) show(message);
    else if (message.type === "hello") begin(message);
    else if (message.type === "live") caughtUp(message.stream);
    else if (message.type === "ended") end(message);
  }

  function begin({ streams }) {
    from = { watch: streams };
    failures = 0;
    replaying.clear();
    for (const stream of Object.keys(streams)) replaying.add(stream);
    enter("replaying", { resumed: connections++ > 0 });
  }

  function show(event) {
    const { seq, stream } = event;
    if (!(seq > from.watch[stream])) return;
    from.watch[stream] = seq;
    try {
      onEvent(event, { replayed: replaying.has(stream) });
    } catch (error) {
      reportError(error);
    }
  }

  function caughtUp(stream) {
    if (replaying.delete(stream) && !replaying.size) enter("live");
  }

  /** Drops a stream that has ended; one with an unknown cursor is subscribed to again, from its beginning. */
  function end({ stream, code, reason }) {
    if (code === UNKNOWN_CURSOR) {
      from.watch[stream] = 0;
      enter("reset", { stream, reason });
      return lost(code, reason);
    }
    delete from.watch[stream];
    onEnd({ stream, code, reason });
    if (Object.keys(from.watch).length) caughtUp(stream); // without any, the server closes the connection
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
    if (REFUSALS.includes(code)) return enter("refused", { code, reason });
    const patience = code === TRY_LATER || code === TOO_MANY ? 8 : 1;
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * patience * 2 ** failures++) * (0.5 + Math.random() / 2);
    later(wait, open);
    enter("waiting", { wait, code, reason });
  }

  function leave(next) {
    drop();
    enter(next);
  }

  const hurry = () => phase === "waiting" && open();
  addEventListener("online", hurry);
  open();
  return {
    get from() {
      return from;
    },
    pause: () => leave("paused"),
    resume: () => (phase === "paused" || phase === "waiting") && open(),
    close() {
      removeEventListener("online", hurry);
      leave("closed");
    },
  };
}
