// A card for each stream of the node: its state in words, its drawing, its figures.

import { clone, keep, part, tell, tellState } from "./dom.js";
import { Drawing } from "./drawing.js";
import { STATES, count, digits, duration, hertz, time } from "./words.js";

const FRAME_MS = 40;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Streams {
  /** now(): the service's time in s since 1970. */
  constructor(container, now) {
    this.container = container;
    this.now = now;
    this.drawings = new Map();
    this.shownMs = 0;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#each((d) => d.recolour()));
    requestAnimationFrame((ms) => this.#move(ms));
  }

  clear() {
    this.drawings.clear();
    this.container.replaceChildren();
  }

  update(node, nowS) {
    const make = (stream) => {
      const card = clone("stream");
      const canvas = part(card, "canvas");
      canvas.setAttribute("aria-label", `Waveform and spectrogram of ${stream.name}, the last 30 s`);
      this.drawings.set(stream.name, new Drawing(canvas));
      return card;
    };
    keep(this.container, node.streams, (stream) => stream.name, make, (card, stream) => describe(card, stream, nowS));
  }

  draw({ stream, columns }) {
    const drawing = this.drawings.get(stream);
    if (!drawing) return;
    drawing.add(columns);
    const card = drawing.canvas.closest("article");
    const [low, high] = drawing.range ?? [0, 0];
    tell(card, "from", `${Math.round(600 * columns.column_s)} s ago`);
    tell(card, "scale", `${digits(low)} to ${digits(high)} · up to ${hertz(columns.top_hz)}`);
    if (still.matches) drawing.show(this.now());
  }

  #each(act) {
    for (const drawing of this.drawings.values()) act(drawing);
  }

  #move(ms) {
    const due = still.matches ? 1000 : FRAME_MS;
    if (ms - this.shownMs >= due) {
      this.shownMs = ms;
      this.#each((drawing) => drawing.show(this.now()));
    }
    requestAnimationFrame((next) => this.#move(next));
  }
}

function describe(card, stream, nowS) {
  tell(card, "name", stream.name);
  tellState(part(card, "state"), stream.state, STATES[stream.state] ?? stream.state);
  tell(card, "told", stream.told);
  tell(card, "level", stream.level === null ? "–" : `${digits(stream.level)} ${stream.unit}`);
  tell(card, "rate", stream.seen_hz === null ? `– of ${hertz(stream.rate_hz)}` : rate(stream));
  tell(card, "last", last(stream.last_sample_s, nowS));
  tell(card, "clock", skew(stream));
  tell(card, "gaps", `${count(stream.gaps)} torn, ${count(stream.filled)} bridged`);
  tell(card, "reconnects", count(stream.reconnects));
  tell(card, "connection", stream.connection);
  tell(card, "address", stream.address);
  const refused = Object.entries(stream.refused).map(([reason, times]) => `${count(times)} × ${reason}`);
  if (stream.dropped) refused.push(`${count(stream.dropped)} chunks lost by a full queue`);
  tell(card, "refused", refused.length ? `Not taken: ${refused.join(", ")}` : "");
}

const rate = (stream) => `${digits((100 * stream.seen_hz) / stream.rate_hz)} % of ${hertz(stream.rate_hz)}`;

const last = (seconds, nowS) => {
  if (seconds === null) return "none yet";
  return nowS - seconds < 2 ? "just now" : `${duration(nowS - seconds)} ago, ${time(seconds)}`;
};

const skew = (stream) => {
  if (stream.offset_s === null) return "–";
  const ms = Math.round(1000 * stream.offset_s);
  const drift = stream.drift_ppm === null ? "" : `, ${digits(stream.drift_ppm)} ppm`;
  return Math.abs(ms) < 1e4 ? `${digits(ms)} ms${drift}` : `its own${drift}`;
};
