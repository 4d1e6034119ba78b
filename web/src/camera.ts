// The camera: its frames, one at a time.

import { UserError } from "./errors.ts";

/** Frames of this size are asked for; a camera may give another. */
const SIZE = { width: { ideal: 960 }, height: { ideal: 720 } };

const MESSAGES: Record<string, string> = {
  NotAllowedError: "The camera was refused. Allow it for this page in the settings of the browser, and start it again.",
  NotFoundError: "This device has no camera, or none that the browser can use.",
  NotReadableError: "The camera is used by another program. Close it there, and start the camera again.",
};

export class Camera {
  readonly video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
  private stream: MediaStream | null = null;
  /** Counts starts and stops: a person may answer the browser's question when the camera is no longer wanted. */
  private changes = 0;

  get isRunning(): boolean {
    return this.stream !== null;
  }

  /**
   * Starts a camera: by default the one at the back of a phone. `ended` is called when it is taken away.
   *
   * @returns whether it runs: it was neither stopped nor started again before the browser gave it.
   * @throws UserError there is none, or it was refused.
   */
  async start(ended: () => void, deviceId?: string): Promise<boolean> {
    this.stop();
    const change = this.changes;
    if (!navigator.mediaDevices) {
      throw new UserError("The camera works only over HTTPS, or on the machine that serves the page (127.0.0.1).");
    }
    const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: { ideal: "environment" } };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { ...SIZE, ...which } });
    } catch (error) {
      if (change !== this.changes) return false;
      const name = error instanceof DOMException ? error.name : "";
      throw new UserError(MESSAGES[name] ?? `The camera cannot be started: ${String(error)}`);
    }
    if (change !== this.changes) {
      stream.getTracks().forEach((track) => track.stop());
      return false;
    }
    this.stream = stream;
    stream.getVideoTracks()[0]!.addEventListener("ended", ended);
    this.video.srcObject = stream;
    await this.video.play().catch((error: unknown) => {
      if (change === this.changes) throw new UserError(`The camera cannot be shown: ${String(error)}`); // else it was stopped meanwhile
    });
    return change === this.changes;
  }

  stop(): void {
    this.changes++;
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.srcObject = null;
  }

  /** Returns the id of the camera after the running one; undefined where there is no other. */
  async other(): Promise<string | undefined> {
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
    const current = this.stream?.getVideoTracks()[0]?.getSettings().deviceId;
    const index = cameras.findIndex(({ deviceId }) => deviceId === current);
    return cameras.length > 1 ? cameras[(index + 1) % cameras.length]!.deviceId : undefined;
  }

  /** Resolves when there is a new frame. */
  nextFrame(): Promise<void> {
    return new Promise((resolve) => {
      if ("requestVideoFrameCallback" in this.video) this.video.requestVideoFrameCallback(() => resolve());
      else requestAnimationFrame(() => resolve());
    });
  }
}
