// The service as a whole: its state, its nodes to choose from, where its events go.

import { clone, keep, part, tell, tellState } from "./dom.js";
import { STATES, bytes, count, duration } from "./words.js";

const WORST_FIRST = ["lost", "recovering", "suspect"];

export function showService(status) {
  const state = document.getElementById("service");
  if (status.not_ready) tellState(state, "recovering", `Not ready: ${status.not_ready}`);
  else tellState(state, "live", "Ready");
  const up = `up ${duration(status.now_s - status.started_s)}`;
  const what = status.bundle ? [`${status.bundle}, ${status.created}`, `${status.backend}, ${status.precision}`] : [];
  const parts = [...what, up, `version ${status.version}`];
  if (status.reload_failed) parts.push(`new bundle not taken: ${status.reload_failed}`);
  tell(document.getElementById("what"), null, parts.join(" · "));
}

export function showNodes(nav, nodes, chosen) {
  nav.hidden = nodes.length < 2;
  keep(nav.firstElementChild, nodes, (node) => node.name, () => clone("node-link"), (item, node) => {
    const link = item.firstElementChild;
    link.href = `#${encodeURIComponent(node.name)}`;
    if (node.name === chosen) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    tell(item, "name", node.name);
    tell(item, "heard", node.label ?? "nothing");
    tellState(part(item, "state"), ...worst(node));
  });
}

/** The state that most needs a person, and which streams are in it. */
function worst(node) {
  for (const state of WORST_FIRST) {
    const names = node.streams.filter((stream) => stream.state === state).map((stream) => stream.name);
    if (names.length) return [state, `${names.join(", ")} ${STATES[state].toLowerCase()}`];
  }
  return ["live", "all live"];
}

export function showDelivery(root, status) {
  keep(part(root, "sinks"), status.sinks, (sink) => sink.name, () => clone("sink"), (item, sink) => {
    tell(item, "name", sink.name);
    const waits = sink.state !== "delivering";
    tellState(part(item, "state"), waits ? "suspect" : "live", waits ? sink.state : "delivering");
    const lost = sink.lost ? `, ${count(sink.lost)} lost` : "";
    tell(item, "counts", `${count(sink.behind)} behind, ${count(sink.delivered)} delivered${lost}`);
  });
  const none = status.sinks.length ? "" : "Events go nowhere but here. ";
  tell(root, "kept", `${none}On disk: journal ${bytes(status.journal_bytes)}, clips ${bytes(status.clips_bytes)}`);
}

/** What a listener should hear of: states of streams that changed since the status before. */
export function changes(before, status) {
  if (!before) return [];
  const old = new Map(before.nodes.flatMap((n) => n.streams.map((s) => [`${n.name}/${s.name}`, s.state])));
  const told = [];
  for (const node of status.nodes) {
    for (const stream of node.streams) {
      if (old.get(`${node.name}/${stream.name}`) === stream.state) continue;
      told.push(`${node.name}: ${stream.name} is ${stream.state}${stream.told ? `, ${stream.told}` : ""}`);
    }
    const running = new Set(before.nodes.find((n) => n.name === node.name)?.tracks.map((t) => t.track));
    for (const track of node.tracks) if (!running.has(track.track)) told.push(`${node.name}: ${track.label} is heard`);
  }
  return told;
}
