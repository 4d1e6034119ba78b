// Reads the numbers in a picture of any size: seqdigits/inference/reader.py, docs/reading.md. An engine runs the network.

import { gray, type Pixels, rotate } from "./pixels.ts";
import {
  addReadings,
  type Box,
  type Choice,
  choose,
  type Edges,
  findPlaces,
  group,
  MIN_SHARED_AREA,
  type Place,
  type Reading,
  removeOverlaps,
  sharedArea,
  sortedBy,
} from "./reading.ts";
import { cut, cutFrame, type CutSize, overviewLevels, shows, toPicture, type View } from "./views.ts";

const OVERVIEW = 512;
const PLACES = 6;
const FIRST_CUTS: readonly CutSize[] = [{ digitHeight: 32, margin: 0.4, contrast: 0.6 }];
const FINALISTS = 2;
const LAST_CUTS: readonly CutSize[] = [
  { digitHeight: 36, margin: 0.4, contrast: 1 },
  { digitHeight: 28, margin: 0.5, contrast: 1 },
  { digitHeight: 22, margin: 0.7, contrast: 0.5 },
];
const MIN_CONFIDENCE = 0.1;
const MIN_SIDEWAYS_CONFIDENCE = 0.5;

/** The best M candidates for digits of each image of a batch: cxcywh [B, M, 4] and probabilities [B, M, 10]. */
export interface Candidates {
  readonly boxes: Float32Array;
  readonly probabilities: Float32Array;
}

/** A network, and the merging of its cells. */
export interface Engine {
  /** Of the images that it takes. */
  readonly channels: 1 | 3;
  /** A candidate with a lower score, the sum of its probabilities, is no digit. */
  readonly minScore: number;
  /** Evaluates images of one shape, `shape` is [B, H, W, channels]. */
  run(images: Uint8Array, shape: readonly [number, number, number, number]): Promise<Candidates>;
  /** Frees its memory; it cannot run after that. */
  release(): Promise<void>;
}

/** Left, top, width, height, in pixels of the picture. */
export type Rectangle = readonly [number, number, number, number];

export interface Digit {
  readonly digit: number;
  readonly confidence: number;
  readonly box: Rectangle;
}

/** A number in a picture; its digits are in reading order. */
export interface NumberFound {
  readonly number: string;
  readonly confidence: number;
  readonly box: Rectangle;
  readonly digits: readonly Digit[];
}

/** Reads all numbers of a picture, best first. */
export async function readPicture(engine: Engine, picture: Pixels): Promise<NumberFound[]> {
  const upright = await readUpright(engine, picture, OVERVIEW);
  if (upright.some((n) => n.number.length > 1 || n.confidence >= MIN_SIDEWAYS_CONFIDENCE)) return upright;
  const sideways: NumberFound[] = [];
  for (const degrees of [90, 270] as const) {
    const turned = await readUpright(engine, rotate(picture, degrees), OVERVIEW / 2);
    const sure = turned.filter((n) => n.confidence >= MIN_SIDEWAYS_CONFIDENCE);
    sideways.push(...sure.map((n) => turnedBack(n, degrees, picture.width, picture.height)));
  }
  const distinct: NumberFound[] = []; // both rotations, and the upright picture, may show something at one place
  for (const number of [...sortedBy(sideways, (n) => n.confidence), ...upright]) {
    const apart = (better: NumberFound) => sharedArea(edgesOf(number.box), edgesOf(better.box)) <= MIN_SHARED_AREA;
    if (distinct.every(apart)) distinct.push(number);
  }
  return distinct;
}

async function readUpright(engine: Engine, picture: Pixels, overview: number): Promise<NumberFound[]> {
  const longerSide = Math.max(picture.width, picture.height);
  const places = await readPlaces(engine, picture, await find(engine, picture, overview));
  const choices = removeOverlaps(places.map((place) => choose(place, longerSide)));
  return choices.map(numberOf).filter((n) => n.confidence >= MIN_CONFIDENCE);
}

/** Returns the best places of the overview, best first, as the levels show them. */
export async function find(engine: Engine, picture: Pixels, overview: number): Promise<Place[]> {
  const levels = overviewLevels(picture, overview);
  return findPlaces((await readViews(engine, levels)).flat(), PLACES, levels.length);
}

/** Reads places again, in cuts from the original pixels. Returns them best first, with the readings of the cuts. */
async function readPlaces(engine: Engine, picture: Pixels, places: readonly Place[]): Promise<Place[]> {
  const rank = (place: Place) => choose(place, Math.max(picture.width, picture.height)).rank;
  const again = sortedBy(await readAgain(engine, picture, places, FIRST_CUTS), rank);
  const finalists = await readAgain(engine, picture, again.slice(0, FINALISTS), LAST_CUTS);
  return sortedBy([...finalists, ...again.slice(FINALISTS)], rank);
}

/** Adds to each place the readings of cuts around the number that its readings agree on. */
export async function readAgain(
  engine: Engine,
  picture: Pixels,
  places: readonly Place[],
  sizes: readonly CutSize[] = FIRST_CUTS,
): Promise<Place[]> {
  const around = places.map((place) => choose(place, Math.max(picture.width, picture.height)).reading);
  const cuts = around.flatMap((reading) => sizes.map((s) => cut(picture, cutFrame(reading, s), s.contrast)));
  const found = await readViews(engine, cuts);
  return places.map((place, i) =>
    addReadings(place, found.slice(i * sizes.length, (i + 1) * sizes.length).flat(), sizes.length),
  );
}

/** Returns the readings of each view, in pixels of the picture; views of one shape are one batch. */
async function readViews(engine: Engine, views: readonly View[]): Promise<Reading[][]> {
  const result: Reading[][] = views.map(() => []);
  const batches = new Map<string, number[]>();
  views.forEach(({ pixels }, i) => {
    const shape = `${pixels.height}x${pixels.width}`;
    batches.set(shape, [...(batches.get(shape) ?? []), i]);
  });
  for (const members of batches.values()) {
    const { width, height } = views[members[0]!]!.pixels;
    const size = width * height * engine.channels;
    const images = new Uint8Array(members.length * size);
    members.forEach((i, position) => {
      const { pixels } = views[i]!;
      images.set(engine.channels === 3 ? pixels.data : gray(pixels), position * size);
    });
    const { boxes, probabilities } = await engine.run(images, [members.length, height, width, engine.channels]);
    const count = boxes.length / 4 / members.length;
    members.forEach((i, position) => {
      const view = views[i]!;
      const shown: { box: Box; probability: number[] }[] = [];
      for (let m = position * count; m < (position + 1) * count; m++) {
        const box = [...boxes.subarray(m * 4, m * 4 + 4)] as unknown as Box;
        if (shows(view, box)) shown.push({ box, probability: [...probabilities.subarray(m * 10, m * 10 + 10)] });
      }
      result[i] = group(toPicture(view, shown.map((c) => c.box)), shown.map((c) => c.probability), engine.minScore);
    });
  }
  return result;
}

export function numberOf({ reading, confidence }: Pick<Choice, "reading" | "confidence">): NumberFound {
  const [left, top, right, bottom] = reading.edges;
  const digits = [...reading.text].map((digit, i) => {
    const [x, y, w, h] = reading.box[i]!;
    return { digit: Number(digit), confidence: reading.digitConfidence[i]!, box: [x - w / 2, y - h / 2, w, h] as const };
  });
  return { number: reading.text, confidence, box: [left, top, right - left, bottom - top], digits };
}

const edgesOf = ([left, top, width, height]: Rectangle): Edges => [left, top, left + width, top + height];

/** Maps a rectangle from the picture rotated counterclockwise by `degrees` to the picture of this width and height. */
export function rectangleBack(
  [left, top, w, h]: Rectangle,
  degrees: 90 | 270,
  width: number,
  height: number,
): Rectangle {
  return degrees === 90 ? [width - top - h, left, h, w] : [top, height - left - w, h, w];
}

function turnedBack(found: NumberFound, degrees: 90 | 270, width: number, height: number): NumberFound {
  const back = (box: Rectangle) => rectangleBack(box, degrees, width, height);
  return { ...found, box: back(found.box), digits: found.digits.map((d) => ({ ...d, box: back(d.box) })) };
}
