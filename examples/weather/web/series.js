// The observations of one place in order of time, as the columns that uPlot draws.

export const COLUMNS = ["high", "low", "temperature", "precipitation"];

export const DAY_S = 86400;

export class Series {
  constructor() {
    this.clear();
  }

  clear() {
    this.times = [];
    this.columns = Object.fromEntries(COLUMNS.map((name) => [name, []]));
  }

  get length() {
    return this.times.length;
  }

  has(name) {
    return this.columns[name].some((value) => value !== null);
  }

  // Time in seconds. A second record of the same time replaces the first.
  put(time, record) {
    const at = this.place(time);
    const replaced = this.times[at] === time ? 1 : 0;
    this.times.splice(at, replaced, time);
    for (const name of COLUMNS) this.columns[name].splice(at, replaced, record[name] ?? null);
  }

  delete(time) {
    const at = this.place(time);
    if (this.times[at] !== time) return;
    this.times.splice(at, 1);
    for (const name of COLUMNS) this.columns[name].splice(at, 1);
  }

  // What stands from one time to another, with a neighbour on each side so that lines
  // run on to the edge.
  between(from, to) {
    const first = Math.max(0, this.place(from) - 1);
    const end = this.place(to) + 2;
    return [this.times, ...COLUMNS.map((name) => this.columns[name])]
      .map((column) => column.slice(first, end));
  }

  // The same with one point for each day: the extremes of its temperatures.
  daysBetween(from, to) {
    const [times, , , temperatures] = this.between(from - (from % DAY_S), to);
    const days = [[], ...COLUMNS.map(() => [])];
    const [starts, highs, lows, ...others] = days;
    times.forEach((time, index) => {
      const value = temperatures[index];
      if (value === null) return;
      const start = time - (time % DAY_S);
      if (starts.at(-1) !== start) {
        starts.push(start);
        highs.push(value);
        lows.push(value);
        for (const other of others) other.push(null);
      }
      highs[highs.length - 1] = Math.max(highs.at(-1), value);
      lows[lows.length - 1] = Math.min(lows.at(-1), value);
    });
    return days;
  }

  // The index of the first time that is not before this one.
  place(time) {
    let low = 0;
    let high = this.times.length;
    if (high && this.times[high - 1] < time) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
