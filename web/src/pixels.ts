// Pixels, resized and cut as Pillow does it, to the same values: a canvas rounds and filters differently.

/** Rows of pixels of 3 (RGB) or 4 (RGBA; the fourth is not read) values, 0..255. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly channels: 3 | 4;
}

function rgb(width: number, height: number): Pixels {
  return { data: new Uint8Array(width * height * 3), width, height, channels: 3 };
}

const PRECISION_BITS = 22;
const HALF = 1 << (PRECISION_BITS - 1);

/** Resizes with Pillow's BILINEAR, a triangle as wide as the reduction, after a reduction by an integer (reducing_gap 3). */
export function resize(image: Pixels, width: number, height: number): Pixels {
  if (width === image.width && height === image.height) return withoutAlpha(image);
  const factorX = Math.trunc(image.width / width / 3) || 1;
  const factorY = Math.trunc(image.height / height / 3) || 1;
  const reduced = factorX > 1 || factorY > 1 ? reduce(image, factorX, factorY) : image;
  const [spanX, spanY] = [image.width / factorX, image.height / factorY];
  const rows = width === reduced.width && spanX === width ? withoutAlpha(reduced) : resizeWidth(reduced, width, spanX);
  return height === rows.height && spanY === height ? rows : resizeHeight(rows, height, spanY);
}

interface Filter {
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** Integers of PRECISION_BITS binary places, `stride` for each pixel of the result. */
  readonly weights: Int32Array;
  readonly stride: number;
}

/** Returns the triangle filter for `inSize` pixels, of which the first `span` (which may have a fraction) become `outSize`. */
function triangle(inSize: number, span: number, outSize: number): Filter {
  const scale = Math.fround(span) / outSize;
  const support = Math.max(scale, 1);
  const stride = Math.ceil(support) * 2 + 1;
  const [first, count] = [new Int32Array(outSize), new Int32Array(outSize)];
  const weights = new Int32Array(outSize * stride);
  for (let i = 0; i < outSize; i++) {
    const center = (i + 0.5) * scale;
    const low = Math.max(Math.trunc(center - support + 0.5), 0);
    const high = Math.min(Math.trunc(center + support + 0.5), inSize);
    const inverse = 1 / support;
    const raw = Array.from({ length: high - low }, (_, k) =>
      Math.max(1 - Math.abs((k + low - center + 0.5) * inverse), 0),
    );
    const total = raw.reduce((a, b) => a + b, 0);
    first[i] = low;
    count[i] = high - low;
    raw.forEach((w, k) => (weights[i * stride + k] = Math.trunc(0.5 + (w / total) * 2 ** PRECISION_BITS)));
  }
  return { first, count, weights, stride };
}

function resizeWidth(image: Pixels, width: number, span: number): Pixels {
  const { first, count, weights, stride } = triangle(image.width, span, width);
  const result = rgb(width, image.height);
  const { data, channels } = image;
  for (let y = 0, to = 0; y < image.height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      let from = (y * image.width + first[x]!) * channels;
      let r = HALF; // three variables, not an array, which would be made anew for each pixel
      let g = HALF;
      let b = HALF;
      for (let k = x * stride, end = k + count[x]!; k < end; k++, from += channels) {
        const w = weights[k]!;
        r += data[from]! * w;
        g += data[from + 1]! * w;
        b += data[from + 2]! * w;
      }
      result.data[to] = clip(r);
      result.data[to + 1] = clip(g);
      result.data[to + 2] = clip(b);
    }
  }
  return result;
}

function resizeHeight(image: Pixels, height: number, span: number): Pixels {
  const { first, count, weights, stride } = triangle(image.height, span, height);
  const result = rgb(image.width, height);
  const row = image.width * 3;
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < row; x++, to++) {
      let value = HALF;
      let from = first[y]! * row + x;
      for (let k = y * stride, end = k + count[y]!; k < end; k++, from += row) value += image.data[from]! * weights[k]!;
      result.data[to] = clip(value);
    }
  }
  return result;
}

const clip = (value: number): number => Math.min(value >> PRECISION_BITS, 255);

/** Averages blocks of the pixels from (left, top) to (right, bottom); the last blocks may be narrower, as in Pillow's reduce. */
export function reduce(
  image: Pixels,
  factorX: number,
  factorY: number,
  left = 0,
  top = 0,
  right: number = image.width,
  bottom: number = image.height,
): Pixels {
  const result = rgb(Math.ceil((right - left) / factorX), Math.ceil((bottom - top) / factorY));
  const { data, channels } = image;
  for (let y = 0, to = 0; y < result.height; y++) {
    const firstY = top + y * factorY;
    const endY = Math.min(firstY + factorY, bottom);
    for (let x = 0; x < result.width; x++, to += 3) {
      const firstX = left + x * factorX;
      const endX = Math.min(firstX + factorX, right);
      const count = (endX - firstX) * (endY - firstY);
      let r = count >> 1;
      let g = r;
      let b = r;
      for (let yy = firstY; yy < endY; yy++) {
        for (let from = (yy * image.width + firstX) * channels, k = firstX; k < endX; k++, from += channels) {
          r += data[from]!;
          g += data[from + 1]!;
          b += data[from + 2]!;
        }
      }
      const multiplier = Math.trunc(Math.fround(2 ** 32 / Math.fround(count * 256))); // Pillow divides in float32
      result.data[to] = Math.trunc((r * multiplier) / 2 ** 24);
      result.data[to + 1] = Math.trunc((g * multiplier) / 2 ** 24);
      result.data[to + 2] = Math.trunc((b * multiplier) / 2 ** 24);
    }
  }
  return result;
}

/** Returns the pixels of the rows and columns with these indices; indices beyond the image repeat its edge. */
export function pick(image: Pixels, rows: readonly number[], columns: readonly number[]): Pixels {
  const result = rgb(columns.length, rows.length);
  const inside = (i: number, size: number) => Math.min(Math.max(i, 0), size - 1);
  const from = columns.map((column) => inside(column, image.width) * image.channels);
  let to = 0;
  for (const row of rows) {
    const start = inside(row, image.height) * image.width * image.channels;
    for (const column of from) {
      result.data[to++] = image.data[start + column]!;
      result.data[to++] = image.data[start + column + 1]!;
      result.data[to++] = image.data[start + column + 2]!;
    }
  }
  return result;
}

/** Maps x and y of a view, in pixels, to x and y in the picture: two rows. */
export type Matrix = readonly [readonly [number, number, number], readonly [number, number, number]];

/** Samples an image bilinearly at the positions of a matrix; black beyond it. Fractions are cut off, as in Pillow. */
export function transform(image: Pixels, width: number, height: number, matrix: Matrix): Pixels {
  const result = rgb(width, height);
  const [[a, b, c], [d, e, f]] = matrix;
  const { data, channels } = image;
  const last = { x: image.width - 1, y: image.height - 1 };
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      const atX = a * (x + 0.5) + b * (y + 0.5) + c;
      const atY = d * (x + 0.5) + e * (y + 0.5) + f;
      if (atX < 0 || atX >= image.width || atY < 0 || atY >= image.height) continue;
      const floorX = Math.floor(atX - 0.5);
      const floorY = Math.floor(atY - 0.5);
      const dx = atX - 0.5 - floorX;
      const dy = atY - 0.5 - floorY;
      const x0 = Math.max(floorX, 0) * channels;
      const x1 = Math.min(floorX + 1, last.x) * channels;
      const row0 = Math.max(floorY, 0) * image.width * channels;
      const row1 = Math.min(floorY + 1, last.y) * image.width * channels;
      for (let k = 0; k < 3; k++) {
        const above = data[row0 + x0 + k]! + (data[row0 + x1 + k]! - data[row0 + x0 + k]!) * dx;
        const below = data[row1 + x0 + k]! + (data[row1 + x1 + k]! - data[row1 + x0 + k]!) * dx;
        result.data[to + k] = Math.trunc(above + (below - above) * dy);
      }
    }
  }
  return result;
}

/** Rotates counterclockwise by 90 or 270 degrees. */
export function rotate(image: Pixels, degrees: 90 | 270): Pixels {
  const result = rgb(image.height, image.width);
  for (let y = 0, to = 0; y < result.height; y++) {
    for (let x = 0; x < result.width; x++) {
      const [fromX, fromY] = degrees === 90 ? [image.width - 1 - y, x] : [y, image.height - 1 - x];
      const from = (fromY * image.width + fromX) * image.channels;
      for (let c = 0; c < 3; c++) result.data[to++] = image.data[from + c]!;
    }
  }
  return result;
}

/** Returns the brightness, one value a pixel, as Pillow's mode L. */
export function gray({ data }: Pixels): Uint8Array {
  const result = new Uint8Array(data.length / 3);
  for (let i = 0, from = 0; i < result.length; i++, from += 3) {
    result[i] = (data[from]! * 19595 + data[from + 1]! * 38470 + data[from + 2]! * 7471 + 0x8000) >> 16;
  }
  return result;
}

function withoutAlpha(image: Pixels): Pixels {
  return image.channels === 3 ? image : reduce(image, 1, 1);
}
