// The list of events: the newest first, each opens to its clip and to what a person says of it.

import { clone, fact, keep, part, tell } from "./dom.js";
import { showClip } from "./clip.js";
import { showMarking } from "./marking.js";
import { duration, pattern, percent, time } from "./words.js";

const PAGE = 20;

export class Events {
  constructor(root) {
    this.root = root;
    this.list = part(root, "events");
    this.heard = [];
    this.labels = [];
    this.seen = "";
    part(root, "older").addEventListener("click", () => this.#load(this.heard.at(-1)?.event.start_s));
  }

  /** Ask again where tracks began or ended, or a clip came. */
  update(status) {
    this.labels = status.labels;
    this.severalNodes = status.nodes.length > 1;
    const tracks = status.nodes.map((node) => [node.tracks.map((track) => track.track), node.events]);
    const seen = JSON.stringify([tracks, status.clips_bytes]);
    if (seen === this.seen) return;
    this.seen = seen;
    this.#load();
  }

  /** The newest ones, or those before a time. */
  async #load(beforeS) {
    const before = beforeS === undefined ? "" : `&before=${beforeS}`;
    const answer = await fetch(`/api/events?limit=${PAGE}${before}`).catch(() => null);
    if (!answer?.ok) {
      this.seen = "";
      return;
    }
    const came = await answer.json();
    const oldest = came.at(-1)?.event.start_s ?? 0;
    const names = new Set(came.map((heard) => heard.event.track));
    const others = this.heard.filter(({ event }) => !names.has(event.track));
    const newer = beforeS === undefined ? [] : others;
    const older = beforeS === undefined ? others.filter(({ event }) => event.start_s <= oldest) : [];
    this.heard = [...newer, ...came, ...older];
    if (beforeS !== undefined || older.length === 0) part(this.root, "older").hidden = came.length < PAGE;
    this.#show();
  }

  #show() {
    part(this.root, "none").hidden = this.heard.length > 0;
    keep(this.list, this.heard, ({ event }) => event.track, ({ event }) => this.#row(event.track), (row, heard) => {
      this.#describe(row, heard);
    });
  }

  #row(track) {
    const row = clone("event");
    row.addEventListener("toggle", () => {
      if (row.open && !part(row, "inside").firstElementChild) this.#open(row, track);
    });
    return row;
  }

  #describe(row, { event, mark }) {
    const where = this.severalNodes ? `${event.node}, ` : "";
    tell(row, "onset", time(event.start_s));
    tell(row, "class", event.label);
    tell(row, "confidence", percent(event.peak));
    tell(row, "duration", event.phase === "end" ? duration(event.end_s - event.start_s) : "goes on");
    tell(row, "pattern", where + pattern(event.pattern));
    const doubted = Object.keys(event.suspects).length ? "doubtful" : "";
    const word = mark ? (mark.right ? "right" : "wrong") : doubted;
    tell(row, "badge", word);
    part(row, "badge").dataset.word = word;
    const inside = part(row, "inside").firstElementChild;
    if (inside) describeInside(inside, event);
  }

  #open(row, track) {
    const heard = () => this.heard.find(({ event }) => event.track === track);
    const inside = clone("event-inside");
    describeInside(inside, heard().event);
    showMarking(inside, heard(), this.labels, (mark) => {
      heard().mark = mark;
      this.#describe(row, heard());
    });
    part(row, "inside").append(inside);
  }
}

function describeInside(inside, event) {
  const suspects = Object.entries(event.suspects).map(([name, why]) => `${name} took part though it is suspect: ${why}.`);
  const other = event.alternative;
  if (other) suspects.push(`Without it: ${other.label} ${percent(other.probabilities[other.label] ?? 0)}.`);
  tell(inside, "doubt", suspects.join(" "));
  part(inside, "facts").replaceChildren(
    fact("Onset", time(event.start_s)),
    fact("End", event.phase === "end" ? time(event.end_s) : "goes on"),
    fact("Highest confidence", percent(event.peak)),
    fact("Latest confidence", percent(event.confidence)),
    fact("Windows", String(event.windows)),
    fact("Node", event.node),
  );
  const clips = part(inside, "clips");
  if (event.clip && !clips.dataset.shown) {
    clips.dataset.shown = "yes";
    showClip(clips, event.track).then((is) => is || delete clips.dataset.shown);
  }
}
