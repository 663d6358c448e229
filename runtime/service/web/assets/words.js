// Numbers and times in words, in the viewer's zone and language. A number and its unit stay on one line.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dated = new Intl.DateTimeFormat(undefined, {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const short = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });

export const STATES = { live: "Live", suspect: "Suspect", lost: "Lost", recovering: "Recovering" };

/** A time in s since 1970, with its day where that is not today. */
export function time(seconds) {
  const date = new Date(1000 * seconds);
  return (date.toDateString() === new Date().toDateString() ? clock : dated).format(date);
}

/** A length of time in s: "4.2 ms", "0.31 s", "2 min 5 s", "3 h 12 min". */
export function duration(seconds) {
  if (seconds < 0.1) return `${(1000 * seconds).toFixed(1)}\u00a0ms`;
  if (seconds < 10) return `${seconds.toFixed(1)}\u00a0s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}\u00a0s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}\u00a0min ${whole % 60}\u00a0s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}\u00a0h ${Math.floor((whole % 3600) / 60)}\u00a0min`;
  return `${Math.floor(whole / 86400)}\u00a0d ${Math.floor((whole % 86400) / 3600)}\u00a0h`;
}

export const percent = (share) => `${Math.round(100 * share)}\u00a0%`;

/** A number with three digits. */
export const digits = (value) => short.format(value).replace("-", "−");

export const count = (value) => new Intl.NumberFormat().format(value);

export const hertz = (value) => (value >= 1000 ? `${digits(value / 1000)}\u00a0kHz` : `${digits(value)}\u00a0Hz`);

/** Sizes in steps of 1000. */
export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = value > 0 ? Math.min(Math.floor(Math.log10(value) / 3), 4) : 0;
  return `${digits(value / 1000 ** step)}\u00a0${units[step]}`;
}

/** "acoustic + seismic", or that nothing is live. */
export const pattern = (name) => name.replaceAll("+", " + ") || "no stream";
