// One place: its latest values, and its chart.

import { Chart, minus } from "./chart.js";
import { DAY_S, Series } from "./series.js";
import { throttle } from "./throttle.js";

// Beyond this many days the lines of single hours run into each other.
const HOURLY_DAYS = 30;
const LIVE_WINDOW_S = 60;
// Often enough to look live, seldom enough to be read.
const SHOW_EVERY_MS = 300;

const VALUES = [
  ["temperature", "Now", "°"],
  ["high", "High", "°"],
  ["low", "Low", "°"],
  ["wind", "Wind", "m/s"],
  ["precipitation", "Rain", "mm"],
];
const KEYS = [
  ["temperature", "warm", "Temperature"],
  ["high", "high", "High"],
  ["low", "low", "Low"],
  ["precipitation", "rain", "Rain"],
];
const KINDS = ["sun", "rain", "drizzle", "snow", "fog"];

export class Card {
  constructor(place, days) {
    this.place = place;
    this.days = days;
    this.latest = {};
    this.history = new Series(); // records with a time in their id
    this.live = new Series(); // what came since the page was opened
    this.root = document.getElementById("place").content.firstElementChild.cloneNode(true);
    this.root.dataset.place = place;
    this.note = "";
    this.show = throttle(() => this.render(), SHOW_EVERY_MS);
  }

  get series() {
    return this.history.length ? this.history : this.live;
  }

  setLatest(record, writtenMs) {
    this.latest = record;
    this.writtenMs = writtenMs;
    if (!this.history.length && typeof record.temperature === "number") this.live.put(writtenMs / 1000, record);
    this.show();
  }

  // Whether hours are drawn as the extremes of their days.
  get isDaily() {
    return this.days > HOURLY_DAYS && this.history.has("temperature");
  }

  setDays(days) {
    this.days = days;
    this.show();
  }

  field(name) {
    return this.root.querySelector(`[data-field="${name}"]`);
  }

  render() {
    this.setText(this.field("name"), this.latest.name ?? this.place.replaceAll("-", " "));
    this.setText(this.field("time"), this.when());
    this.renderIcon();
    this.renderValues();
    this.renderKeys();
    this.setText(this.field("points"), this.series.length.toLocaleString("en"));
    this.setText(this.field("points-noun"), this.series.length === 1 ? "observation" : "observations");
    this.renderChart();
  }

  when() {
    if (!this.latest.time) {
      return this.writtenMs ? `Written at ${new Date(this.writtenMs).toLocaleTimeString("en-GB")}` : "";
    }
    const [date, hour] = String(this.latest.time).split("T");
    const time = new Date(`${date}T00:00Z`);
    if (Number.isNaN(time.valueOf())) return this.latest.time;
    const day = time.toLocaleDateString("en-GB",
      { weekday: "short", day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
    return hour ? `${day}, ${hour}` : day;
  }

  renderIcon() {
    const kind = KINDS.includes(this.latest.weather) ? this.latest.weather : "unknown";
    const icon = this.root.querySelector(".icon");
    icon.firstElementChild.setAttribute("href", `#icon-${kind}`);
    icon.setAttribute("aria-label", kind === "unknown" ? "Temperature only" : `Weather: ${kind}`);
  }

  renderValues() {
    const known = VALUES.filter(([name]) => typeof this.latest[name] === "number");
    const list = this.root.querySelector(".values");
    const shown = known.map(([name]) => name).join(" ");
    if (list.dataset.shown !== shown) {
      list.dataset.shown = shown;
      list.replaceChildren(...known.map(([name, label, unit]) => value(name, label, unit)));
    }
    for (const [name] of known) {
      this.setText(list.querySelector(`[data-value="${name}"]`), minus(this.latest[name].toFixed(1)));
    }
  }

  renderKeys() {
    const keys = this.root.querySelector(".keys");
    if (this.note) {
      keys.dataset.shown = "";
      keys.replaceChildren(this.note);
      return;
    }
    const known = KEYS.filter(([name]) => this.isDaily
      ? name === "high" || name === "low" : this.series.has(name));
    const shown = known.map(([name]) => name).join(" ");
    if (keys.dataset.shown === shown && shown) return;
    keys.dataset.shown = shown;
    keys.replaceChildren(...known.map(([, colour, label]) => {
      const key = document.createElement("span");
      key.className = `key ${colour}`;
      key.textContent = label;
      return key;
    }));
  }

  renderChart() {
    const isLocal = this.series === this.live;
    if (this.chart?.isLocal !== isLocal) {
      this.root.querySelector(".chart").replaceChildren();
      this.chart = new Chart(this.root.querySelector(".chart"), {
        isLocal,
        hover: (sentence) => {
          if (sentence === this.note) return;
          this.note = sentence;
          this.renderKeys();
        },
      });
    }
    const { times } = this.series;
    const end = isLocal ? times.at(-1) ?? 0 : secondsOf(this.latest.time) ?? times.at(-1);
    const span = isLocal ? Math.max(LIVE_WINDOW_S, end - (times[0] ?? end)) : this.days * DAY_S;
    const data = this.isDaily
      ? this.series.daysBetween(end - span, end) : this.series.between(end - span, end);
    this.chart.draw(data, [end - span, end + span * 0.02]);
    this.root.querySelector(".chart").setAttribute("aria-label",
      `Chart of ${this.field("name").textContent}: ${times.length} observations, up to ${this.when()}`);
  }

  setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }
}

function value(name, label, unit) {
  const item = document.createElement("div");
  item.className = `value ${name}`;
  const term = document.createElement("dt");
  term.textContent = label;
  const number = document.createElement("span");
  number.dataset.value = name;
  const small = document.createElement("small");
  small.textContent = unit;
  const detail = document.createElement("dd");
  detail.append(number, small);
  item.append(term, detail);
  return item;
}

// Seconds since 1970 of `2012-01-31`, `2012-01-31T15` or `2012-01-31T15:00`, taken as
// UTC; null for anything else.
export function secondsOf(text) {
  const parts = /^(\d{4}-\d\d-\d\d)(?:T(\d\d)(?::\d\d)?)?$/.exec(text ?? "");
  const time = parts ? Date.parse(`${parts[1]}T${parts[2] ?? "00"}:00Z`) : NaN;
  return Number.isNaN(time) ? null : time / 1000;
}
