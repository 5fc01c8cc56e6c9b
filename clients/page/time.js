// Times are seconds since the epoch. People see UTC, as rows have it.

const FIRST = -62135596800, LAST = 253402300799; // the years 1 to 9999, as rows may have
const SPANS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

// "2014-11-02 01:00:00", with T or a space, with Z or not, without seconds, a day alone, or seconds; NaN: none of these.
export function parseTime(text) {
  if (typeof text === "number" || /^-?\d+$/.test(text)) {
    const seconds = Number(text);
    return seconds >= FIRST && seconds <= LAST ? seconds : NaN;
  }
  if (text?.length === 19 && text[10] === " " && text >= "0100") { // as rows have it, of which there are many
    const part = (at, size) => Number(text.slice(at, at + size));
    return Date.UTC(part(0, 4), part(5, 2) - 1, part(8, 2), part(11, 2), part(14, 2), part(17, 2)) / 1000;
  }
  const parts = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.0+)?Z?)?$/.exec(text ?? "");
  return parts ? Date.parse(`${parts[1]}T${parts[2] ?? "00:00"}Z`) / 1000 : NaN;
}

// "2014-11-02 01:00:00"; with "T" between, as fields and fragments have it.
export function formatTime(seconds, between = " ") {
  return new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", between);
}

// "3 d 4 h"
export function formatSpan(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [unit, size] of SPANS) {
    if (left >= size && parts.length < 2) {
      parts.push(`${Math.floor(left / size)} ${unit}`);
      left %= size;
    }
  }
  return parts.join(" ") || "0 s";
}
