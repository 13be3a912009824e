// The subscription: one EventSource on the table, resumed for as long as the page lives.

const RETRY_MS = 2000;

// Calls handlers.event(envelope), .reset() when all that was known is void, and
// .state("connecting" | "live" | "reconnecting").
export function subscribe(path, handlers) {
  let last = "";

  function open() {
    const resume = last ? `?lastEventId=${encodeURIComponent(last)}` : "";
    const source = new EventSource(path + resume);
    source.onmessage = (message) => {
      last = message.lastEventId || last;
      handlers.event(JSON.parse(message.data));
    };
    source.addEventListener("ready", (message) => {
      last = message.lastEventId || last;
      handlers.state("live");
    });
    source.addEventListener("reset", () => handlers.reset());
    source.onerror = () => {
      handlers.state("reconnecting");
      // A broken connection is taken up again by the browser, from the last event id.
      // After an answer that is no stream (a proxy's 502, say) it gives up: we do not.
      if (source.readyState === EventSource.CLOSED) setTimeout(open, RETRY_MS);
    };
  }

  handlers.state("connecting");
  open();
}
