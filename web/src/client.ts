// The page's side of the worker.

import { UserError } from "./errors.ts";
import type { Answer, Message, Request } from "./messages.ts";
import type { Pixels } from "./pixels.ts";

export interface Progress {
  progress(loaded: number, total: number): void;
  ready(model: string): void;
  failed(message: string): void;
}

export class Client {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, { resolve(answer: Answer): void; reject(error: UserError): void }>();
  private lastId = 0;
  /** Why the worker does not run; null while it does. */
  private failure: UserError | null = null;

  /** Starts to load the network: that of model.json, or a file at another address. */
  constructor(model: string | null, handler: Progress) {
    // The model is the name, because a worker that is kept for visits without a network loses the query of its address.
    this.worker = new Worker("worker.js", { type: "module", name: model ?? "" });
    this.worker.onerror = () => {
      this.failure = new UserError("The page could not be started. Reload it, or try a newer browser.");
      for (const { reject } of this.waiting.values()) reject(this.failure);
      this.waiting.clear();
      handler.failed(this.failure.message);
    };
    this.worker.onmessage = ({ data }: MessageEvent<Message>) => {
      if (data.kind === "progress") handler.progress(data.loaded, data.total);
      else if (data.kind === "ready") handler.ready(data.model);
      else if (data.kind === "failed") handler.failed(data.message);
      else {
        const waiting = this.waiting.get(data.id);
        this.waiting.delete(data.id);
        if (data.kind === "answer") waiting?.resolve(data.answer);
        else waiting?.reject(new UserError(data.message));
      }
    };
  }

  /**
   * Reads a picture, or the next frame of a video. The pixels are given away.
   *
   * @throws UserError it cannot be read, for example because the network could not be loaded.
   */
  read(kind: Request["kind"], pixels: Pixels, restart = false): Promise<Answer> {
    if (this.failure) return Promise.reject(this.failure);
    const request: Request = { id: ++this.lastId, kind, pixels, restart };
    return new Promise((resolve, reject) => {
      this.waiting.set(request.id, { resolve, reject });
      this.worker.postMessage(request, [pixels.data.buffer as ArrayBuffer]);
    });
  }
}
