// Two plots on one axis of time, by uPlot: the value as a line (with the range from least to greatest where a point
// stands for many rows), and the score as bars below it. Anomalies are dots on the line; stretches without a score are
// hatched where bars would be.

import uPlot from "./uPlot.esm.js";
import { HIGH, levelOf } from "./score.js";
import { peaks } from "./series.js";
import { formatTime } from "./time.js";

const SCORE_HEIGHT = 128, AXIS_WIDTH = 62, LEAST_HEIGHT = 160, LABEL_SPACE = 90;

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Labels of the axis of time: the day where it changes, else the time of day.
function timeLabels(plot, splits, axis, space, step) {
  let day = "";
  return splits.map((seconds) => {
    const text = formatTime(seconds), date = text.slice(0, 10), time = text.slice(11, step < 60 ? 19 : 16);
    const first = date !== day;
    day = date;
    return step >= 86400 ? date : first ? `${time}\n${date}` : time;
  });
}

// Values of any size within the axis's width.
function valueLabels(plot, splits) {
  return splits.map((value) => {
    const size = Math.abs(value);
    return size !== 0 && (size >= 1e6 || size < 1e-3) ? value.toExponential(1) : String(Number(value.toPrecision(6)));
  });
}

// The library's own, but without a value there is an axis too, or the plots would not lie one below the other.
function valueRange(plot, least, greatest) {
  return least === null ? [0, 1] : uPlot.rangeNum(least, greatest, 0.1, true);
}

// From x to end, both within what is seen.
function hatch(context, x, end, y, height) {
  context.save();
  context.beginPath();
  context.rect(x, y, end - x, height);
  context.clip();
  context.beginPath();
  for (let at = x - height; at < end; at += 8) {
    context.moveTo(at, y + height);
    context.lineTo(at + height, y);
  }
  context.strokeStyle = color("faint");
  context.lineWidth = 1;
  context.stroke();
  context.restore();
}

export class Chart {
  #series = null;
  #plots = [];

  // cursor(index): the pointer is at this point of the series, or null.
  constructor(root, cursor) {
    this.root = root;
    this.cursor = cursor;
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.recolor = () => this.#build();
    this.scheme.addEventListener("change", this.recolor);
    this.watcher = new ResizeObserver(() => this.#resize());
    this.watcher.observe(root);
  }

  destroy() {
    this.watcher.disconnect();
    this.scheme.removeEventListener("change", this.recolor);
    this.#plots.forEach((plot) => plot.destroy());
    this.#plots = [];
  }

  // Columns of series.js, to be seen in {from, to}.
  draw(series, range) {
    this.#series = series;
    this.range = range;
    if (this.#plots.length === 0) {
      this.#build();
      return;
    }
    const { time, value, least, greatest, score } = series;
    this.#plots[0].setData([time, value, least, greatest], false);
    this.#plots[1].setData([time, score], false);
    this.look(range);
  }

  // The same data, another part of it.
  look(range) {
    this.range = range;
    for (const plot of this.#plots) {
      plot.setScale("x", { min: range.from, max: range.to });
    }
  }

  // The time below a point of the screen.
  timeAt(clientX) {
    const box = this.#plots[0]?.over.getBoundingClientRect();
    return box ? this.range.from + (clientX - box.left) / box.width * (this.range.to - this.range.from) : this.range.from;
  }

  // The plots' part of the screen, axes left out.
  area() {
    const over = this.#plots[0]?.over.getBoundingClientRect(), below = this.#plots[1]?.over.getBoundingClientRect();
    return over ? { left: over.left, width: over.width, top: over.top, bottom: below.bottom } : null;
  }

  #sizes() {
    const width = Math.max(240, this.root.clientWidth);
    return [{ width, height: Math.max(LEAST_HEIGHT, this.root.clientHeight - SCORE_HEIGHT) }, { width, height: SCORE_HEIGHT }];
  }

  #resize() {
    this.#sizes().forEach((size, index) => this.#plots[index]?.setSize(size));
  }

  #build() {
    if (this.#series === null) {
      return;
    }
    this.#plots.forEach((plot) => plot.destroy());
    const [upper, lower] = this.#sizes(), { time, value, least, greatest, score } = this.#series;
    this.#plots = [
      new uPlot(this.#valueOptions(upper), [time, value, least, greatest], this.root),
      new uPlot(this.#scoreOptions(lower), [time, score], this.root),
    ];
    this.look(this.range);
  }

  #common(size) {
    return {
      ...size,
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      cursor: { drag: { x: false, y: false }, y: false, sync: { key: "metric" }, points: { size: 7 } },
    };
  }

  #axis(options) {
    return { stroke: color("soft"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line"), width: 1 },
      font: "12px system-ui, sans-serif", ...options };
  }

  #valueOptions(size) {
    const line = color("accent"), band = color("band"), edge = { stroke: "transparent", width: 0, points: { show: false } };
    return {
      ...this.#common(size),
      padding: [10, 36, 10, 0],
      scales: { x: { time: true, range: () => [this.range.from, this.range.to] }, y: { range: valueRange } },
      axes: [this.#axis({ size: 0, space: LABEL_SPACE, values: (plot, splits) => splits.map(() => "") }),
        this.#axis({ size: AXIS_WIDTH, values: valueLabels })],
      series: [{}, { stroke: line, width: 1.5, points: { show: (plot, index, first, last) => last - first < 200, size: 4 } },
        edge, edge],
      bands: [{ series: [3, 2], fill: band }],
      hooks: { draw: [(plot) => this.#drawMarks(plot)],
        setCursor: [(plot) => this.cursor(plot.cursor.idx ?? null)] },
    };
  }

  #scoreOptions(size) {
    return {
      ...this.#common(size),
      padding: [8, 36, 0, 0],
      scales: { x: { time: true, range: () => [this.range.from, this.range.to] }, y: { range: [0, 1] } },
      axes: [this.#axis({ size: 52, space: LABEL_SPACE, values: timeLabels }),
        this.#axis({ size: AXIS_WIDTH, splits: () => [0, 0.5, 1], values: (plot, splits) => splits.map(String) })],
      series: [{}, { stroke: "transparent", paths: () => null, points: { show: false } }],
      hooks: { draw: [(plot) => this.#drawBars(plot)] },
    };
  }

  // Dots where the score is high.
  #drawMarks(plot) {
    const { ctx: context } = plot, radius = 4.5 * devicePixelRatio;
    context.save();
    context.beginPath();
    context.rect(plot.bbox.left - radius, plot.bbox.top - radius, plot.bbox.width + 2 * radius, plot.bbox.height + 2 * radius);
    context.clip();
    context.fillStyle = color("high");
    for (const index of peaks(this.#series, HIGH)) {
      const x = plot.valToPos(this.#series.time[index], "x", true);
      if (x < plot.bbox.left || x > plot.bbox.left + plot.bbox.width) {
        continue;
      }
      const y = plot.valToPos(this.#series.value[index], "y", true);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    }
    context.restore();
  }

  #drawBars(plot) {
    const { ctx: context } = plot, { left, top, width, height } = plot.bbox, series = this.#series;
    const second = width / (this.range.to - this.range.from);
    const bar = Math.max(1.5 * devicePixelRatio, Math.min(10 * devicePixelRatio, 0.8 * series.step * second));
    context.save();
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    this.#hatchUnscored(context, plot, second);
    for (const [level, bars] of Object.entries(this.#barsByLevel(second, Math.ceil(width)))) {
      context.fillStyle = color(level);
      for (const { x, score } of bars) {
        const tall = Math.max(devicePixelRatio, Math.min(1, Math.max(0, score)) * height);
        context.fillRect(left + x - bar / 2, top + height - tall, bar, tall);
      }
    }
    context.restore();
  }

  // Of the scores that share a pixel, the greatest: there are no more bars than pixels.
  #barsByLevel(second, width) {
    const { time, score } = this.#series, tallest = new Float64Array(width + 1).fill(-1);
    for (let i = 0; i < time.length; i++) {
      const at = Math.floor((time[i] - this.range.from) * second);
      if (score[i] !== null && at >= 0 && at <= width && score[i] > tallest[at]) {
        tallest[at] = score[i];
      }
    }
    const bars = { low: [], medium: [], high: [] };
    tallest.forEach((value, x) => value >= 0 && bars[levelOf(value)].push({ x: x + 0.5, score: value }));
    return bars;
  }

  #hatchUnscored(context, plot, second) {
    const { left, top, width, height } = plot.bbox, { time, unscored, step } = this.#series;
    for (let i = 0; i < time.length; i++) {
      if (!unscored[i]) {
        continue;
      }
      const begin = i;
      while (i + 1 < time.length && unscored[i + 1]) {
        i++;
      }
      const x = (time[begin] - step / 2 - this.range.from) * second, long = Math.max(2, (time[i] - time[begin] + step) * second);
      if (x < width && x + long > 0) {
        hatch(context, left + Math.max(0, x), left + Math.min(width, x + long), top, height);
      }
    }
  }
}
