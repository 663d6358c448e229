// The page: news come in, the parts of the page show them. It shows and marks; it configures nothing.

import { Connection } from "./connection.js";
import { tell, tellState } from "./dom.js";
import { Events } from "./events.js";
import { Hops, showHeard } from "./heard.js";
import { changes, showDelivery, showNodes, showService } from "./service.js";
import { Streams } from "./streams.js";

const main = document.getElementById("node");
const banner = document.getElementById("banner");
const announcer = document.getElementById("announcer");

let status = null;
let chosen = null;
let connected = null;
let aheadS = null; // The service's clock against this machine's, in s.

const now = () => Date.now() / 1000 + (aheadS ?? 0);

const streams = new Streams(main.querySelector('[data-part="streams"]'), now);
const hops = new Hops(main.querySelector('[data-part="hops"]'));
const events = new Events(main.querySelector(".events"));

const hear = {
  status(news) {
    const seenS = news.now_s - Date.now() / 1000;
    aheadS = aheadS === null || Math.abs(seenS - aheadS) > 2 ? seenS : aheadS + 0.2 * (seenS - aheadS);
    if (status.version !== news.version) location.reload(); // The service was updated, and this page with it.
    const told = changes(status, news);
    if (told.length) tell(announcer, null, told.join(". "));
    status = news;
    show();
    events.update(news);
  },
  verdicts: (news) => hops.add(news),
  columns: (news) => streams.draw(news),
};

const connection = new Connection((kind, content) => hear[kind](content), (is) => {
  if (is === connected) return;
  if (is && connected === false) hops.clear();
  connected = is;
  document.body.classList.toggle("stale", !is);
  banner.hidden = is;
  tell(banner, null, is ? "" : "Connection lost. What you see is old; trying to connect again.");
  if (!is) tellState(document.getElementById("service"), "lost", "Not connected");
});

function show() {
  const node = status.nodes.find(({ name }) => name === chosen);
  showService(status);
  showNodes(document.getElementById("nodes"), status.nodes, chosen);
  showDelivery(main, status);
  if (!node) return;
  main.hidden = false;
  showHeard(main, node, status.now_s);
  streams.update(node, status.now_s);
}

/** The node that the address names, else the first. */
function choose() {
  const asked = decodeURIComponent(location.hash.slice(1));
  const names = status.nodes.map(({ name }) => name);
  if (asked === "node" && chosen) return; // The skip link.
  const next = names.includes(asked) ? asked : names[0];
  if (next === chosen) return;
  chosen = next;
  document.title = names.length > 1 ? `${chosen} · rep-edge` : "rep-edge";
  streams.clear();
  hops.clear();
  show();
  connection.open(chosen);
}

/** The nodes must be known before one can be listened to. */
async function begin() {
  const answer = await fetch("/api/status").catch(() => null);
  status = answer?.ok ? await answer.json() : null;
  if (!status?.nodes.length) {
    if (status) show();
    setTimeout(begin, 1500);
    return;
  }
  choose();
  events.update(status);
  addEventListener("hashchange", choose);
}

begin();
