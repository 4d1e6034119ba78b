// The steps of reading a picture that are arithmetic on boxes: seqdigits/inference/reading.py, docs/reading.md.
// tests/golden/reading.json has the vectors that this file reproduces. Angles are in radians, lengths in pixels.

const MAX_HEIGHT_RATIO = 1.8;
const MAX_GAP = 1.3;
const MAX_OFFSET = 0.6;
const OFFSET_SLOPE = 0.35;
const MAX_STACK_OFFSET = 0.5;
const MAX_STACK_GAP = 0.7;
const STEEP_DEGREES = 60;
const MAX_LENGTH = 8;
const SURE = 0.8;
export const MIN_SHARED_AREA = 0.5;
const MIN_CUT_SHARE = 0.3;
const AGREEMENT_POWER = 8;
const CONFIDENCE_SLOPE = 1.1;
const CONFIDENCE_BIAS = 4.7;
const SINGLE_DIGIT_PENALTY = 2.5;

/** Center x, center y, width, height. */
export type Box = readonly [number, number, number, number];
/** Left, top, right, bottom. */
export type Edges = readonly [number, number, number, number];

/** A number as one view of the picture shows it: an overview level, or a cut. */
export class Reading {
  readonly confidence: number;
  readonly height: number;
  readonly edges: Edges;

  /**
   * @param text the digits in reading order
   * @param box of each digit, in pixels of the picture
   * @param digitConfidence of each digit, 0..1
   * @param angle of the reading direction, clockwise from the right
   */
  constructor(
    readonly text: string,
    readonly box: readonly Box[],
    readonly digitConfidence: readonly number[],
    readonly angle: number,
  ) {
    // The geometric mean of the confidences, and the median height of the digits.
    this.confidence = Math.exp(mean(digitConfidence.map((c) => Math.log(Math.max(c, 1e-6)))));
    this.height = median(box.map((b) => b[3]));
    this.edges = [
      Math.min(...box.map(([x, , w]) => x - w / 2)),
      Math.min(...box.map(([, y, , h]) => y - h / 2)),
      Math.max(...box.map(([x, , w]) => x + w / 2)),
      Math.max(...box.map(([, y, , h]) => y + h / 2)),
    ];
  }
}

/** A place of the picture where a number may stand: `first` is the best reading of the overview. */
export interface Place {
  readonly first: Reading;
  readonly readings: readonly Reading[];
  /** Number of views that may show the place. */
  readonly views: number;
}

/** The number that the readings of a place agree on. */
export interface Choice {
  /** The most confident reading with that text. */
  readonly reading: Reading;
  /** Votes for the text per view, 0..1. */
  readonly support: number;
  readonly rank: number;
  /** That the number is right, 0..1. */
  readonly confidence: number;
}

/** Returns which digits are neighbors in a number. */
export function link(box: readonly Box[]): boolean[][] {
  const similar = (a: Box, b: Box) => Math.max(a[3], b[3]) <= MAX_HEIGHT_RATIO * Math.min(a[3], b[3]);
  const onLine = box.map((a, i) =>
    box.map((b, j) => {
      const dx = Math.abs(a[0] - b[0]);
      const height = (a[3] + b[3]) / 2;
      const close = dx - (a[2] + b[2]) / 2 < MAX_GAP * height;
      const level = Math.abs(a[1] - b[1]) < MAX_OFFSET * height + OFFSET_SLOPE * Math.min(dx, height);
      return i !== j && similar(a, b) && close && level;
    }),
  );
  const isolated = onLine.map((row) => !row.some(Boolean));
  return box.map((a, i) =>
    box.map((b, j) => {
      if (onLine[i]![j] || i === j || !isolated[i] || !isolated[j] || !similar(a, b)) return onLine[i]![j]!;
      const height = (a[3] + b[3]) / 2;
      const below = Math.abs(a[0] - b[0]) < MAX_STACK_OFFSET * Math.max(a[2], b[2]);
      return below && Math.abs(a[1] - b[1]) - height < MAX_STACK_GAP * height;
    }),
  );
}

/** Labels each element with the smallest index of its connected component. */
export function components(links: readonly boolean[][]): number[] {
  const label = links.map(() => -1);
  links.forEach((_, start) => {
    const open = label[start] === -1 ? [start] : [];
    while (open.length) {
      const i = open.pop()!;
      if (label[i] !== -1) continue;
      label[i] = start;
      links[i]!.forEach((linked, j) => linked && open.push(j));
    }
  });
  return label;
}

/** Puts the digits of one number in reading order: along their principal axis, or from top to bottom where it is steep. */
export function makeReading(box: readonly Box[], probability: readonly (readonly number[])[]): Reading {
  const [meanX, meanY] = [mean(box.map((b) => b[0])), mean(box.map((b) => b[1]))];
  const x = box.map((b) => b[0] - meanX);
  const y = box.map((b) => b[1] - meanY);
  const xy = sum(x.map((v, i) => v * y[i]!));
  const squares = sum(x.map((v, i) => v * v - y[i]! * y[i]!));
  let angle = box.length > 1 ? 0.5 * Math.atan2(2 * xy, squares) : 0;
  let position = y;
  if (Math.abs(angle) > radians(STEEP_DEGREES)) angle = Math.PI / 2;
  else position = x.map((v, i) => v * Math.cos(angle) + y[i]! * Math.sin(angle));
  const order = box.map((_, i) => i).sort((i, j) => position[i]! - position[j]!);
  const ordered = order.map((i) => probability[i]!);
  const confidence = ordered.map((p) => Math.max(...p));
  const text = ordered.map((p, i) => p.indexOf(confidence[i]!)).join("");
  return new Reading(text, order.map((i) => box[i]!), confidence, angle);
}

/** Groups the candidates of one view into readings, in the order of their first candidates. */
export function group(
  box: readonly Box[],
  probability: readonly (readonly number[])[],
  minScore: number,
): Reading[] {
  const score = probability.map(sum);
  const sure = box.map((_, i) => i).filter((i) => score[i]! > 0 && score[i]! >= minScore);
  const label = components(link(sure.map((i) => box[i]!)));
  const groups = new Map<number, number[]>();
  label.forEach((l, i) => groups.set(l, [...(groups.get(l) ?? []), sure[i]!]));
  return [...groups.values()]
    .map((members) => makeReading(members.map((i) => box[i]!), members.map((i) => probability[i]!)))
    .filter((reading) => reading.text.length <= MAX_LENGTH || reading.confidence >= SURE);
}

/** Returns the area that two rectangles share, as a part of the smaller one's area, 0..1. */
export function sharedArea(a: Edges, b: Edges): number {
  const width = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
  const height = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  const smaller = Math.min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]));
  return (width * height) / Math.max(smaller, 1e-9);
}

/** Returns the best `count` places of the readings of all overview levels, best first. */
export function findPlaces(readings: readonly Reading[], count: number, views: number): Place[] {
  const value = (r: Reading) => r.confidence * r.height ** 0.25 * Math.min(r.text.length, 3) ** 0.3;
  const places: Reading[][] = [];
  for (const reading of sortedBy(readings, value)) {
    const place = places.find(([first]) => sharedArea(first!.edges, reading.edges) > MIN_SHARED_AREA);
    if (place) place.push(reading);
    else places.push([reading]);
  }
  return places.slice(0, count).map((found) => ({ first: found[0]!, readings: found, views }));
}

/** Adds the readings of `views` cuts to a place: those that share enough of the area of its first reading. */
export function addReadings(place: Place, readings: readonly Reading[], views: number): Place {
  const near = readings.filter((r) => sharedArea(place.first.edges, r.edges) > MIN_CUT_SHARE);
  return { first: place.first, readings: [...place.readings, ...near], views: place.views + views };
}

/** Chooses the text that the readings of a place vote for. `longerSide` is that of the picture. */
export function choose(place: Place, longerSide: number): Choice {
  const votes = new Map<string, number>();
  for (const r of place.readings) votes.set(r.text, (votes.get(r.text) ?? 0) + r.confidence ** AGREEMENT_POWER);
  const [text, most] = [...votes].reduce((best, vote) => (vote[1] > best[1] ? vote : best));
  const reading = place.readings
    .filter((r) => r.text === text)
    .reduce((best, r) => (r.confidence > best.confidence ? r : best));
  const support = Math.min(most / place.views, 1);
  const rank = support * Math.min(text.length, 3) * Math.sqrt(reading.height / longerSide);
  const penalty = text.length === 1 ? SINGLE_DIGIT_PENALTY : 0;
  const logit = CONFIDENCE_SLOPE * Math.log(support + 1e-3) + CONFIDENCE_BIAS - penalty;
  return { reading, support, rank, confidence: 1 / (1 + Math.exp(-logit)) };
}

/** Sorts numbers by rank, best first, and drops those that overlap with a better one. */
export function removeOverlaps<T extends Pick<Choice, "reading" | "rank">>(choices: readonly T[]): T[] {
  const kept: T[] = [];
  for (const choice of sortedBy(choices, (c) => c.rank)) {
    const edges = choice.reading.edges;
    if (kept.every((better) => sharedArea(edges, better.reading.edges) <= MIN_SHARED_AREA)) kept.push(choice);
  }
  return kept;
}

/** Returns the items with the highest value first; equal ones keep their order. */
export function sortedBy<T>(items: readonly T[], value: (item: T) => number): T[] {
  return items
    .map((item) => ({ item, key: value(item) }))
    .sort((a, b) => b.key - a.key)
    .map(({ item }) => item);
}

export const radians = (degrees: number): number => (degrees * Math.PI) / 180;

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

const mean = (values: readonly number[]): number => sum(values) / values.length;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
