// Decodes a picture file, turned upright as its EXIF orientation demands, with transparent pixels on white.

import { UserError } from "./errors.ts";
import type { Pixels } from "./pixels.ts";

export const MAX_MEGAPIXELS = 50;
export const MAX_MEGABYTES = 100;
/** The longest side that a canvas of all current browsers can have. */
const MAX_SIDE = 16384;
/** Longer side of the copy that is shown. */
const SHOWN_SIDE = 2048;

export interface Picture {
  readonly pixels: Pixels;
  /** A copy to show, which may be smaller. */
  readonly shown: HTMLCanvasElement;
  readonly width: number;
  readonly height: number;
}

/**
 * Decodes a file. Its size in pixels is looked up first, so that a small file of a huge picture takes no memory.
 *
 * @throws UserError it is no picture, or too large.
 */
export async function openPicture(file: Blob): Promise<Picture> {
  if (file.size > MAX_MEGABYTES * 1e6) {
    throw new UserError(
      `The file is too large: ${Math.round(file.size / 1e6)} MB. Allowed are up to ${MAX_MEGABYTES} MB. Make it smaller first.`,
    );
  }
  const { width, height } = await sizeOf(file);
  if (width * height > MAX_MEGAPIXELS * 1e6 || Math.max(width, height) > MAX_SIDE) {
    throw new UserError(
      `The picture is too large: ${width} x ${height} pixels. Allowed are up to ${MAX_MEGAPIXELS} megapixels, and ` +
        `${MAX_SIDE} pixels a side. Make it smaller first.`,
    );
  }
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" }).catch(() => {
    throw new UserError("The picture cannot be decoded: the file is damaged, or a drawing (SVG). PNG, JPEG, WebP and GIF work.");
  });
  const { width: columns, height: rows } = bitmap;
  const scale = Math.min(SHOWN_SIDE / Math.max(columns, rows), 1);
  const whole = onWhite(bitmap, columns, rows);
  const shown = onWhite(bitmap, Math.max(Math.round(columns * scale), 1), Math.max(Math.round(rows * scale), 1));
  bitmap.close(); // each copy of a picture of 50 megapixels takes 200 MB
  try {
    return { pixels: pixelsOf(whole), shown, width: columns, height: rows };
  } finally {
    whole.width = 0;
  }
}

/** Returns the pixels of a canvas. */
export function pixelsOf(canvas: HTMLCanvasElement): Pixels {
  const { width, height } = canvas;
  try {
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, width, height);
    return { data: new Uint8Array(data.buffer), width, height, channels: 4 };
  } catch {
    throw new UserError(`The picture, ${width} x ${height} pixels, is too large for this browser. Make it smaller first.`);
  }
}

/** Draws an image in a new canvas of this size, on white. */
export function onWhite(image: CanvasImageSource, width: number, height: number): HTMLCanvasElement {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(image, 0, 0, width, height);
  return canvas;
}

/** Returns the size of a picture, without decoding its pixels. */
async function sizeOf(file: Blob): Promise<{ width: number; height: number }> {
  const url = URL.createObjectURL(file);
  const image = new Image();
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = reject;
      image.src = url;
    });
  } catch {
    throw new UserError("The file is no picture that this browser can show, or it is damaged. PNG, JPEG, WebP and GIF work.");
  } finally {
    URL.revokeObjectURL(url);
  }
  if (!image.naturalWidth || !image.naturalHeight) throw new UserError("The picture has no pixels.");
  return { width: image.naturalWidth, height: image.naturalHeight };
}
