// Draws a picture, and the numbers that were read over it.

import type { NumberFound, Rectangle } from "./reader.ts";

const COLORS = ["#0a5fd0", "#b4460b", "#137a3c", "#7a3fc4"];
const FONT = "600 15px system-ui, sans-serif";

/** Where a picture lies in its canvas, in CSS pixels. */
export interface Placement {
  readonly scale: number;
  readonly left: number;
  readonly top: number;
}

/** Fills a canvas with a picture of `width` x `height`, as large as it fits. Boxes are in pixels of the picture. */
export function draw(
  canvas: HTMLCanvasElement,
  picture: CanvasImageSource | null,
  width: number,
  height: number,
  numbers: readonly NumberFound[],
): Placement {
  const ratio = devicePixelRatio;
  const [outerWidth, outerHeight] = [canvas.clientWidth, canvas.clientHeight];
  const [columns, rows] = [Math.round(outerWidth * ratio), Math.round(outerHeight * ratio)];
  if (canvas.width !== columns) canvas.width = columns;
  if (canvas.height !== rows) canvas.height = rows;
  const scale = Math.min(outerWidth / width, outerHeight / height);
  const place = { scale, left: (outerWidth - width * scale) / 2, top: (outerHeight - height * scale) / 2 };
  const context = canvas.getContext("2d")!;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, outerWidth, outerHeight);
  if (picture) context.drawImage(picture, place.left, place.top, width * scale, height * scale);
  numbers.forEach((number, i) => drawNumber(context, number, COLORS[i % COLORS.length]!, place, outerWidth));
  return place;
}

function drawNumber(
  context: CanvasRenderingContext2D,
  { number, confidence, box, digits }: NumberFound,
  color: string,
  place: Placement,
  outerWidth: number,
): void {
  const shown = ([x, y, w, h]: Rectangle): Rectangle => [
    place.left + x * place.scale,
    place.top + y * place.scale,
    w * place.scale,
    h * place.scale,
  ];
  for (const digit of digits) outline(context, shown(digit.box), color, 1, 2);
  const [x, y, w, h] = shown(box);
  const frame: Rectangle = [x - 4, y - 4, w + 8, h + 8];
  outline(context, frame, color, 2.5, 6);

  context.font = FONT;
  const text = `${number}  ${Math.round(confidence * 100)}%`;
  const labelWidth = context.measureText(text).width + 14;
  const labelLeft = Math.max(Math.min(frame[0], outerWidth - labelWidth - 2), 2);
  const labelTop = frame[1] >= 28 ? frame[1] - 27 : frame[1] + frame[3] + 3;
  context.fillStyle = color;
  context.beginPath();
  context.roundRect(labelLeft, labelTop, labelWidth, 24, 6);
  context.fill();
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(text, labelLeft + 7, labelTop + 12.5);
}

/** A colored line with a white edge, so that it is seen on every picture. */
function outline(
  context: CanvasRenderingContext2D,
  [x, y, w, h]: Rectangle,
  color: string,
  width: number,
  radius: number,
): void {
  context.beginPath();
  context.roundRect(x, y, w, h, radius);
  context.strokeStyle = "rgb(255 255 255 / 75%)";
  context.lineWidth = width + 2;
  context.stroke();
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke();
}
