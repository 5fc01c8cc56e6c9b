// What a chart draws, of rows or of buckets: columns side by side, with a hole (nulls) where a gap is not bridged.

import { BUCKET } from "./score.js";
import { parseTime } from "./time.js";

const GAP = 3; // times the usual distance between neighbours

// The distance that half of the neighbours have at most.
function usualStep(times) {
  const steps = Float64Array.from(times.slice(1), (time, index) => time - times[index]).sort();
  return steps[steps.length >> 1] ?? 0;
}

const HOLE = { value: null, least: null, greatest: null, score: null, unscored: false };

function push(out, { time, value, least, greatest, score, unscored }) {
  out.time.push(time);
  out.value.push(value);
  out.least.push(least);
  out.greatest.push(greatest);
  out.score.push(score);
  out.unscored.push(unscored);
}

// Points {time, value, least, greatest, score, unscored} to columns; `step`: how long a point lasts at least.
function toColumns(points, step) {
  const usual = Math.max(step, usualStep(points.map((point) => point.time)));
  const out = { time: [], value: [], least: [], greatest: [], score: [], unscored: [], step: usual, count: points.length };
  let before = null;
  for (const point of points) {
    if (before !== null && usual > 0 && point.time - before > GAP * usual) {
      push(out, { ...HOLE, time: (before + point.time) / 2 });
    }
    push(out, point);
    before = point.time;
  }
  return out;
}

// Buckets of `summary`, each `width` seconds wide, in order of time.
export function seriesOfBuckets(buckets, width) {
  return toColumns(buckets.map((bucket) => ({
    time: parseTime(bucket[BUCKET.start]) + (bucket[BUCKET.rows] > 1 ? width / 2 : 0),
    value: bucket[BUCKET.mean],
    least: bucket[BUCKET.least],
    greatest: bucket[BUCKET.greatest],
    score: bucket[BUCKET.score],
    unscored: bucket[BUCKET.unscored] === bucket[BUCKET.rows],
  })), width);
}

// Rows of `data` [time, value, score, rowid]. Steps back in time occur; a chart goes by time.
export function seriesOfRows(rows) {
  const points = rows.map(([time, value, score]) => (
    { time: parseTime(time), value, least: null, greatest: null, score, unscored: score === null }));
  const ordered = points.every((point, index) => index === 0 || points[index - 1].time <= point.time);
  return toColumns(ordered ? points : points.sort((a, b) => a.time - b.time), 0);
}

// The greatest of the high scores' neighbours: what is marked, a mark for each run of them.
export function peaks(series, least) {
  const found = [];
  let best = -1;
  series.score.forEach((score, index) => {
    if (score !== null && score >= least) {
      best = best < 0 || score > series.score[best] ? index : best;
    } else if (best >= 0) {
      found.push(best);
      best = -1;
    }
  });
  return best < 0 ? found : [...found, best];
}
