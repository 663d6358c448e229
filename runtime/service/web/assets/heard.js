// What the node hears now, and what became of its latest hops.

import { clone, keep, part, tell } from "./dom.js";
import { count, duration, percent, time } from "./words.js";

const MOST_HOPS = 20;
const TAKES_PART = new Set(["live", "suspect"]);

export function showHeard(root, node, nowS) {
  tell(document.getElementById("heard-title"), null, `Heard now at ${node.name}`);
  const top = node.label === null ? 0 : node.probabilities[node.label] ?? 0;
  tell(root, "class", node.label === null ? "Nothing: no stream is live" : `${node.label} ${percent(top)}`);
  const tracks = node.tracks.map((t) => `${t.label} since ${time(t.start_s)}, ${duration(Math.max(0, nowS - t.start_s))}`);
  tell(root, "track", tracks.length ? `Event goes on: ${tracks.join("; ")}` : "No event goes on");
  keep(part(root, "bars"), Object.entries(node.probabilities), ([label]) => label, () => clone("bar"), showBar(node.label));
  keep(part(root, "pattern"), node.streams, (s) => s.name, () => document.createElement("li"), showChip);
  tell(root, "lag", duration(node.lag_s));
  tell(root, "latency", duration(node.latency_s));
  tell(root, "windows", count(node.windows));
  tell(root, "without", count(node.without));
  tell(root, "switches", count(node.switches));
}

const showBar = (heard) => (element, [label, probability]) => {
  element.classList.toggle("top", label === heard);
  tell(element, "name", label);
  tell(element, "number", percent(probability));
  part(element, "fill").style.width = `${100 * probability}%`;
};

function showChip(element, stream) {
  const live = TAKES_PART.has(stream.state);
  element.className = live ? "chip on" : "chip off";
  tell(element, null, live ? stream.name : `${stream.name} missing`);
}

/** The latest hops, the newest first. */
export class Hops {
  constructor(body) {
    this.body = body;
    this.clear();
  }

  clear() {
    this.held = [];
    this.body.replaceChildren();
  }

  add(verdicts) {
    this.held = [...verdicts.reverse(), ...this.held].slice(0, MOST_HOPS);
    keep(this.body, this.held, (verdict) => verdict.end_s, () => clone("hop"), (row, verdict) => {
      row.classList.toggle("event-made", verdict.event !== "");
      tell(row, "time", time(verdict.end_s));
      tell(row, "class", verdict.label === null ? "–" : `${verdict.label} ${verdict.confidence.toFixed(2)}`);
      tell(row, "why", verdict.event ? `Event: ${verdict.why}` : verdict.why);
    });
  }
}

