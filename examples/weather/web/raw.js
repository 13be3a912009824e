// The raw event: JSON as it came, slowly enough to be read.

const SHOW_EVERY_MS = 900;

export class RawEvents {
  constructor() {
    this.waiting = new Map(); // place -> its newest event that was not shown
    this.shownAt = new Map(); // place -> when an event of it was shown
    this.count = 0;
    this.countBefore = 0;
    this.isHeld = false;
    this.timer = 0;
    setInterval(() => this.showRate(), 1000);
    const button = document.getElementById("hold");
    button.addEventListener("click", () => {
      this.isHeld = !this.isHeld;
      button.setAttribute("aria-pressed", String(this.isHeld));
      button.textContent = this.isHeld ? "Go on" : "Hold";
    });
  }

  add(event, topic, place) {
    this.count += 1;
    this.waiting.set(place, { event, topic });
    if (!this.timer) this.turn();
  }

  // Of the places with news, the one that was shown least recently: a place that
  // speaks once is seen between two that speak all the time.
  turn() {
    this.timer = setTimeout(() => {
      this.timer = 0;
      if (this.waiting.size) this.turn();
    }, SHOW_EVERY_MS);
    if (this.isHeld) return;
    const [place] = [...this.waiting.keys()]
      .sort((one, other) => (this.shownAt.get(one) ?? 0) - (this.shownAt.get(other) ?? 0));
    const { event, topic } = this.waiting.get(place);
    this.waiting.delete(place);
    this.shownAt.set(place, performance.now());
    show(event, topic);
  }

  showRate() {
    document.getElementById("count").textContent = this.count.toLocaleString("en");
    document.getElementById("rate").textContent = (this.count - this.countBefore).toLocaleString("en");
    this.countBefore = this.count;
  }
}

function show(event, topic) {
  const kind = document.getElementById("raw-kind");
  kind.textContent = event.type;
  kind.dataset.kind = event.type;
  document.getElementById("raw-topic").textContent = topic;
  document.getElementById("raw").replaceChildren(...coloured(JSON.stringify(event, null, 2)));
}

// JSON text as spans, so that names and values differ in colour.
function coloured(text) {
  const pieces = [];
  const pattern = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*|true|false|null/g;
  let done = 0;
  for (const match of text.matchAll(pattern)) {
    pieces.push(text.slice(done, match.index));
    const span = document.createElement("span");
    span.className = match[2] ? "name" : match[1] ? "text" : "number";
    span.textContent = match[1] ?? match[0];
    pieces.push(span, match[2] ?? "");
    done = match.index + match[0].length;
  }
  return [...pieces, text.slice(done)];
}
