// What a score looks like. Scores go from 0 to 1; the levels are those that the charts of old had.

export const HIGH = 0.5, MEDIUM = 0.4;

export function levelOf(score) {
  if (score === null || score === undefined) {
    return "none";
  }
  return score >= HIGH ? "high" : score >= MEDIUM ? "medium" : "low";
}

export function formatScore(score) {
  return score === null || score === undefined ? "–" : score.toFixed(3).replace(/0{1,2}$/, "");
}

// Six digits are enough for the eye; the table has all.
export function formatValue(value) {
  return value === null || value === undefined ? "–" : String(Number(value.toPrecision(6)));
}

export function formatCount(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

// Seconds of each of so many buckets of {from, to}: the adapter's rule.
export function bucketSeconds({ from, to }, count) {
  return Math.ceil((to - from + 1) / count);
}

// Fields of a bucket, as `summary` answers them.
export const BUCKET = { start: 0, rows: 1, least: 2, greatest: 3, first: 4, last: 5, mean: 6, score: 7, unscored: 8 };
