// The drawing pad: black strokes on white paper.

import type { Placement } from "./draw.ts";

const INK_WIDTH = 15;
/** A number is read when no stroke was added for this time, in ms. */
const PAUSE = 300;

type Point = readonly [x: number, y: number];

export class Pad {
  static readonly WIDTH = 640;
  static readonly HEIGHT = 480;
  readonly paper = Object.assign(document.createElement("canvas"), { width: Pad.WIDTH, height: Pad.HEIGHT });
  private strokes: Point[][] = [];
  private pointer: number | null = null;
  private timer = 0;

  /**
   * @param canvas that shows the paper
   * @param placement where the paper lies in it
   * @param changed is called at every change of the paper
   * @param finished is called when the person pauses
   */
  constructor(
    canvas: HTMLCanvasElement,
    private readonly placement: () => Placement | null,
    private readonly changed: () => void,
    private readonly finished: () => void,
  ) {
    canvas.addEventListener("pointerdown", (event) => this.begin(canvas, event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"] as const) canvas.addEventListener(end, (event) => this.end(event));
    this.redraw();
  }

  get isEmpty(): boolean {
    return !this.strokes.length;
  }

  undo(): void {
    this.pointer = null; // a stroke that is being drawn ends
    this.strokes.pop();
    this.redraw();
    this.wait();
  }

  clear(): void {
    this.pointer = null;
    this.strokes = [];
    this.redraw();
    this.wait();
  }

  private begin(canvas: HTMLCanvasElement, event: PointerEvent): void {
    const point = this.at(event);
    if (!point || this.pointer !== null || event.button !== 0) return;
    event.preventDefault();
    clearTimeout(this.timer);
    canvas.setPointerCapture(event.pointerId);
    this.pointer = event.pointerId;
    this.strokes.push([point]);
    this.redraw();
  }

  private move(event: PointerEvent): void {
    if (event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) {
      const point = this.at(each);
      if (point) this.strokes.at(-1)!.push(point);
    }
    this.redraw();
  }

  private end(event: PointerEvent): void {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this.wait();
  }

  /** The place of a pointer on the paper; null while the paper is not shown. */
  private at({ offsetX, offsetY }: PointerEvent): Point | null {
    const place = this.placement();
    return place && [(offsetX - place.left) / place.scale, (offsetY - place.top) / place.scale];
  }

  private wait(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(this.finished, PAUSE);
  }

  private redraw(): void {
    const context = this.paper.getContext("2d", { willReadFrequently: true })!;
    context.fillStyle = "#fff";
    context.fillRect(0, 0, Pad.WIDTH, Pad.HEIGHT);
    Object.assign(context, { lineWidth: INK_WIDTH, lineCap: "round", lineJoin: "round", strokeStyle: "#15181d" });
    for (const stroke of this.strokes) {
      context.beginPath();
      context.moveTo(...stroke[0]!);
      for (const point of stroke) context.lineTo(...point);
      context.stroke();
    }
    this.changed();
  }
}
