// The stream of news: opened for one node, and opened again whenever it ends or falls silent.

const SILENCE_MS = 12000; // The service tells its status every 5 s at least.
const RETRY_MS = 1500;

export class Connection {
  /** hear(kind, content) for each message; change(connected) when the connection comes or goes. */
  constructor(hear, change) {
    this.hear = hear;
    this.change = change;
  }

  open(node) {
    this.node = node;
    this.#end();
    this.source = new EventSource(`/api/stream?node=${encodeURIComponent(node)}`);
    for (const kind of ["status", "verdicts", "columns"]) {
      this.source.addEventListener(kind, (message) => {
        this.#expect();
        this.change(true);
        this.hear(kind, JSON.parse(message.data));
      });
    }
    this.source.addEventListener("error", () => {
      this.change(false);
      if (this.source.readyState === EventSource.CLOSED) this.#again();
    });
    this.#expect();
  }

  #end() {
    clearTimeout(this.silence);
    clearTimeout(this.retry);
    this.source?.close();
  }

  #expect() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      this.change(false);
      this.open(this.node);
    }, SILENCE_MS);
  }

  /** The service answered, but not with news: it starts, too many pages are open, or the log-in has run out. */
  #again() {
    this.#end();
    this.retry = setTimeout(async () => {
      const answer = await fetch("/api/status").catch(() => null);
      if (answer?.status === 401) location.assign("/login");
      else if (answer?.ok && isGone(this.node, await answer.json())) location.reload();
      else this.open(this.node);
    }, RETRY_MS);
  }
}

/** Whether the service has other nodes now. While it starts it has none. */
const isGone = (node, { nodes }) => nodes.length > 0 && !nodes.some(({ name }) => name === node);
