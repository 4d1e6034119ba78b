// What the page and the worker, in which the network runs, say to each other.

import type { Pixels } from "./pixels.ts";
import type { NumberFound } from "./reader.ts";

/** Reads a picture, or the next frame of a video; `restart` forgets the numbers of the frames before. */
export interface Request {
  readonly id: number;
  readonly kind: "picture" | "frame";
  readonly pixels: Pixels;
  readonly restart?: boolean;
}

export interface Answer {
  readonly numbers: readonly NumberFound[];
  readonly milliseconds: number;
}

export type Message =
  | { readonly kind: "progress"; readonly loaded: number; readonly total: number }
  | { readonly kind: "ready"; readonly model: string }
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "answer"; readonly id: number; readonly answer: Answer }
  | { readonly kind: "refused"; readonly id: number; readonly message: string };
