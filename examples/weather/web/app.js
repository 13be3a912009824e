// Subscribes to the table Weather and shows what arrives.
//
// /Weather/<place> is the latest observation of a place, /Weather/<place>/<time> the one
// of a time. The stream begins with all records there are and goes on with every change,
// so the page has no other source: it never asks for values.

import { Card, secondsOf } from "./card.js";
import { OwnPlace } from "./own.js";
import { RawEvents } from "./raw.js";
import { subscribe } from "./stream.js";

const STATES = { connecting: "connecting", live: "live", reconnecting: "reconnecting" };

const cards = new Map();
const raw = new RawEvents();
const own = new OwnPlace();
let days = 30;

function cardOf(place) {
  let card = cards.get(place);
  if (!card) {
    card = new Card(place, days);
    cards.set(place, card);
    showCards();
  }
  return card;
}

// Seattle has most to tell: it comes first. Own places come last.
function showCards() {
  const rank = (card) => ["seattle", "san-francisco"].indexOf(card.place) + 1 || Infinity;
  const sorted = [...cards.values()].sort((one, other) => rank(one) - rank(other));
  document.getElementById("places").replaceChildren(...sorted.map((card) => card.root));
  document.getElementById("no-places").hidden = cards.size > 0;
}

function receive(event) {
  const [place, ...rest] = String(event.id).split("/");
  raw.add(event, `Weather/${event.id}`, place);
  if (event.type === "message") return; // delivered to everybody, but no record
  if (rest.length === 0) receiveLatest(place, event);
  else if (secondsOf(rest.join("/")) !== null) receiveHistory(place, secondsOf(rest[0]), event);
}

function receiveLatest(place, event) {
  if (event.type === "put") {
    cardOf(place).setLatest(event.value, event.localTime);
  } else if (cards.delete(place)) {
    showCards();
  }
}

function receiveHistory(place, seconds, event) {
  const card = cardOf(place);
  if (event.type === "put") card.history.put(seconds, event.value);
  else card.history.delete(seconds);
  card.show();
}

function showState(state) {
  document.querySelector(".state").dataset.state = state;
  document.getElementById("state-text").textContent = STATES[state];
  if (state === "live") readSource();
}

// The replay says in a record of its own where MQTT listens and how fast it goes.
async function readSource() {
  const response = await fetch("/Source/replay", { headers: { Accept: "application/json" } });
  if (!response.ok) return;
  const source = await response.json();
  if (source.mqttPort) own.setMqttPort(source.mqttPort);
  if (source.daysPerSecond) {
    document.getElementById("speed").textContent =
      `, replayed at ${source.daysPerSecond.toLocaleString("en")} days a second`;
  }
}

for (const button of document.querySelectorAll('[name="days"]')) {
  button.addEventListener("change", () => {
    days = Number(button.value);
    for (const card of cards.values()) card.setDays(days);
  });
}

subscribe("/Weather/", {
  event: receive,
  state: showState,
  reset() {
    cards.clear();
    showCards();
  },
});
