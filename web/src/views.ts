// The views of a picture that the network is given: levels of the overview, and cuts. seqdigits/inference/views.py.

import { type Matrix, type Pixels, pick, reduce, resize, transform } from "./pixels.ts";
import { type Box, type Reading, radians } from "./reading.ts";

const LEVELS = 3;
const MAX_ENLARGEMENT = 2;
const MIN_SIDE = 32;
const MAX_SHRINK = 16;
const CUT_WIDTHS = [96, 160, 256] as const;
export const CUT_HEIGHT = 64;
const MAX_TILT_DEGREES = 45;

/** Height and width of the largest level, in eighths of the overview; a picture gets the one in which it is largest. */
const ASPECTS = [[6, 8], [8, 6], [7, 7], [5, 9], [9, 5], [4, 12], [12, 4]] as const;

export type Size = readonly [width: number, height: number];

/** Where a view is in the picture. */
export interface Frame {
  readonly matrix: Matrix;
  /** Pixels of the view per pixel of the picture. */
  readonly scale: number;
  /** The part of the view that shows the picture; the rest repeats its edge. */
  readonly size: Size;
}

/** Pixels that the network is given, and where they are in the picture. */
export interface View extends Frame {
  readonly pixels: Pixels;
}

/** Maps boxes from the view to the picture; they stay upright. */
export function toPicture({ matrix: [row0, row1], scale }: Frame, box: readonly Box[]): Box[] {
  return box.map(([x, y, w, h]) => [
    row0[0] * x + row0[1] * y + row0[2],
    row1[0] * x + row1[1] * y + row1[2],
    w / scale,
    h / scale,
  ]);
}

/** Returns whether a box in the view has its center in the picture. */
export const shows = ({ size }: Frame, [x, y]: Box): boolean => x < size[0] && y < size[1];

/** Returns for each overview level the size of the resized picture and the shape (rows, columns) of the view. */
export function levelShapes(width: number, height: number, overview: number) {
  const unit = overview / 8;
  const [fit, rows, columns] = ASPECTS.map(
    ([h, w]) => [Math.min((h * unit) / height, (w * unit) / width), h * unit, w * unit] as const,
  ).reduce((best, next) => (next[0] > best[0] || (next[0] === best[0] && next[1] > best[1]) ? next : best));
  const scale = Math.min(fit, MAX_ENLARGEMENT);
  const shrink = Math.min(2 ** Math.floor(Math.log2(fit / scale)), MAX_SHRINK);
  const levels: { size: Size; shape: readonly [rows: number, columns: number] }[] = [];
  for (let level = 0; level < LEVELS; level++) {
    const divisor = 2 ** level;
    const sides = [width, height].map((side) => Math.max(roundHalfEven((side * scale) / divisor), 1));
    const size: Size = [sides[0]!, sides[1]!];
    if (level && (Math.min(...size) < MIN_SIDE || shrink * divisor > MAX_SHRINK)) break;
    levels.push({ size, shape: [Math.floor(rows / (shrink * divisor)), Math.floor(columns / (shrink * divisor))] });
  }
  return levels;
}

/** Returns the levels of the overview, the largest first. */
export function overviewLevels(picture: Pixels, overview: number): View[] {
  return levelShapes(picture.width, picture.height, overview).map(({ size, shape }) => {
    const [x, y] = [picture.width / size[0], picture.height / size[1]];
    const resized = resize(picture, ...size);
    const pixels = pick(resized, range(0, shape[0]), range(0, shape[1]));
    return { pixels, matrix: [[x, 0, 0], [0, y, 0]], scale: 1 / Math.sqrt(x * y), size };
  });
}

/** The size of a cut: height of its digits in pixels, margin at the sides in heights of a digit, contrast 0..1. */
export interface CutSize {
  readonly digitHeight: number;
  readonly margin: number;
  readonly contrast: number;
}

/** Places a cut around a number: centered, turned upright, with digits of the height of `size`. */
export function cutFrame(reading: Reading, { digitHeight, margin }: Omit<CutSize, "contrast">): Frame {
  const [left, top, right, bottom] = reading.edges;
  const tilted = Math.abs(reading.angle) <= radians(MAX_TILT_DEGREES);
  const angle = tilted ? reading.angle : 0;
  const height = reading.height;
  let scale = digitHeight / height;
  if (!tilted) scale = Math.min(scale, CUT_HEIGHT / (bottom - top + 2 * margin * height)); // a stack of digits
  const needed = ((right - left) / Math.cos(angle) + 2 * margin * height) * scale;
  const width = CUT_WIDTHS.find((w) => w >= needed) ?? CUT_WIDTHS[CUT_WIDTHS.length - 1]!;
  scale *= Math.min(width / needed, 1);
  const [cosine, sine] = [Math.cos(angle) / scale, Math.sin(angle) / scale];
  const [halfWidth, halfHeight] = [width / 2, CUT_HEIGHT / 2];
  const x = (left + right) / 2 - (cosine * halfWidth - sine * halfHeight);
  const y = (top + bottom) / 2 - (sine * halfWidth + cosine * halfHeight);
  return { matrix: [[cosine, -sine, x], [sine, cosine, y]], scale, size: [width, CUT_HEIGHT] };
}

/** Cuts a view from the original pixels; beyond the picture, its edge is repeated. */
export function cut(picture: Pixels, frame: Frame, contrast: number): View {
  const { matrix, size: [width, height] } = frame;
  const corners = [[0, 0], [width, 0], [0, height], [width, height]] as const;
  const factor = Math.max(Math.trunc(1 / frame.scale), 1);
  const axis = (row: Matrix[0], side: number) => {
    const at = corners.map(([x, y]) => row[0] * x + row[1] * y + row[2]);
    const low = Math.floor((Math.floor(Math.min(...at)) - 2 * factor) / factor) * factor;
    const high = Math.ceil(Math.max(...at)) + 2 * factor;
    const start = Math.min(Math.max(low, 0), side - 1);
    const end = Math.max(Math.min(high, side), start + 1);
    return { low, start, end, indices: range(low, high, factor).map((v) => Math.floor((v - start) / factor)) };
  };
  const [x, y] = [axis(matrix[0], picture.width), axis(matrix[1], picture.height)];
  const part = pick(reduce(picture, factor, factor, x.start, y.start, x.end, y.end), y.indices, x.indices);
  const toPart = (row: Matrix[0], low: number) =>
    [row[0] / factor, row[1] / factor, (row[2] - low) / factor] as const;
  const pixels = transform(part, width, height, [toPart(matrix[0], x.low), toPart(matrix[1], y.low)]);
  return { ...frame, pixels: soften(pixels, contrast) };
}

/** Multiplies the differences from the mean by `contrast`. */
function soften(pixels: Pixels, contrast: number): Pixels {
  const mean = pixels.data.reduce((a, b) => a + b, 0) / pixels.data.length;
  return { ...pixels, data: pixels.data.map((v) => roundHalfEven((v - mean) * contrast + mean)) };
}

function range(start: number, end: number, step = 1): number[] {
  return Array.from({ length: Math.max(Math.ceil((end - start) / step), 0) }, (_, i) => start + i * step);
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}
