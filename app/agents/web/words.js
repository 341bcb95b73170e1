/** Times and values as text. */
const LONGEST_TEXT = 2000;

/** The time of an event in milliseconds, to the microsecond that the service writes. */
export function moment(at) {
  const micros = /\.\d{3}(\d{1,3})/.exec(at)?.[1] ?? "";
  return Date.parse(at) + Number(micros.padEnd(3, "0")) / 1000;
}

export function duration(milliseconds) {
  const ms = Math.max(0, milliseconds);
  if (ms > 0 && ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 9.995 ? 2 : 1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

/** A text, cut to a readable length; a message may have a million characters. */
export function clip(text, longest = LONGEST_TEXT) {
  if (text.length <= longest) return text;
  return `${text.slice(0, longest)} … (${text.length.toLocaleString("en")} characters)`;
}

export function json(value) {
  return clip(value === undefined ? "" : JSON.stringify(value));
}

export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}
