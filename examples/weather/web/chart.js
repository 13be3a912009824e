// One live uPlot chart: the band between high and low, temperature, precipitation as bars.

import { COLUMNS } from "./series.js";

const HEIGHT = 190;
const DEGREES = "°";
const MILLIMETRES = "mm";
const AXIS_FONT = "12px system-ui, sans-serif";
// Bars stay in the lower part of the chart, below most of the lines.
const BARS_SHARE = 3;
const LEAST_MILLIMETRES = 12;

export class Chart {
  // Observed times are the local time of the place: they are written as they are.
  // `hover` is called with a sentence about the point under the pointer, or "".
  constructor(element, { isLocal, hover }) {
    this.element = element;
    this.isLocal = isLocal;
    this.hover = hover;
    this.data = [[], ...COLUMNS.map(() => [])];
    this.range = [0, 1];
    this.make();
    new ResizeObserver(() => this.resize()).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.make());
  }

  draw(data, range) {
    this.data = data;
    this.range = range;
    this.plot.setData(data);
  }

  resize() {
    const width = this.element.clientWidth;
    if (width && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  make() {
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), this.data, this.element);
  }

  options() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const line = (label, name, width) =>
      ({ label, scale: DEGREES, stroke: colour(name), width, points: { show: showLonely } });
    const axis = { font: AXIS_FONT, stroke: colour("quiet"), ticks: { show: false } };
    const grid = { stroke: colour("line"), width: 1 };
    return {
      width: this.element.clientWidth || 300,
      height: HEIGHT,
      padding: [10, 14, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      tzDate: this.isLocal ? undefined : (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: {
        x: { time: true, range: () => this.range },
        [DEGREES]: { range: (plot, low, high) => degrees(low, high) },
        [MILLIMETRES]: {
          range: (plot, low, high) => [0, Math.max(high ?? 0, LEAST_MILLIMETRES) * BARS_SHARE],
        },
      },
      axes: [
        {
          ...axis, grid: { show: false }, space: 70, size: 28,
          values: (plot, times) => times.map((time) => this.tick(time)),
        },
        {
          ...axis, grid, scale: DEGREES, size: 42, space: 34,
          values: (plot, values) => values.map((value) => `${minus(value)}°`),
        },
      ],
      bands: [{ series: [1, 2], fill: colour("band") }],
      series: [
        {},
        line("High", "high", 2),
        line("Low", "low", 2),
        line("Temperature", "warm", 1.5),
        {
          label: "Precipitation", scale: MILLIMETRES, fill: colour("rain"), width: 0,
          points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 14] }),
        },
      ],
      hooks: { setCursor: [(plot) => this.hover(this.sentence(plot))] },
    };
  }

  tick(time) {
    const form = this.isLocal
      ? { hour: "2-digit", minute: "2-digit", second: "2-digit" }
      : { day: "numeric", month: "short", timeZone: "UTC" };
    return new Date(time * 1000).toLocaleString("en-GB", form);
  }

  sentence(plot) {
    const at = plot.cursor.idx;
    if (at === null || at === undefined || plot.cursor.left < 0) return "";
    const value = (name) => this.data[COLUMNS.indexOf(name) + 1][at];
    const time = new Date(this.data[0][at] * 1000);
    const parts = [this.isLocal ? this.tick(time / 1000) : time.toLocaleString("en-GB", {
      day: "numeric", month: "short", timeZone: "UTC",
      ...(value("temperature") !== null && { hour: "2-digit", minute: "2-digit" }),
    })];
    if (value("temperature") !== null) parts.push(degree(value("temperature")));
    if (value("low") !== null) parts.push(`${degree(value("low"))} to ${degree(value("high"))}`);
    if (value("precipitation")) parts.push(`${value("precipitation")} mm`);
    return parts.join(" · ");
  }
}

// A point is drawn for itself only where there is no line yet.
function showLonely(plot, series, first, last) {
  return last - first < 2;
}

function degrees(low, high) {
  if (low === null || low === undefined) return [0, 20];
  const margin = Math.max(1, (high - low) * 0.12);
  return [low - margin * 1.5, high + margin];
}

function degree(value) {
  return value === null ? "–" : `${minus(value.toFixed(1))}°`;
}

// A real minus sign, as wide as a plus.
export function minus(value) {
  return String(value).replace("-", "−");
}
