// The page: its modes, the picture that is shown, and what was read in it.

import { Camera } from "./camera.ts";
import { Client } from "./client.ts";
import { draw, type Placement } from "./draw.ts";
import { UserError } from "./errors.ts";
import { EXAMPLES } from "./examples.ts";
import { History } from "./history.ts";
import type { Answer } from "./messages.ts";
import { Pad } from "./pad.ts";
import { onWhite, openPicture, type Picture, pixelsOf } from "./picture.ts";
import type { NumberFound } from "./reader.ts";

type Mode = "picture" | "pad" | "camera";

const isTouched = matchMedia("(pointer: coarse)").matches;
const HINTS: Record<Mode, readonly [title: string, text: string]> = {
  picture: isTouched
    ? ["Choose a picture", "or take an example below"]
    : ["Drop a picture here", "or paste one, choose a file, or take an example below"],
  pad: ["Draw a number", "with the mouse, a pen or a finger"],
  camera: ["Point the camera at a number", "It is read while you film; nothing is recorded"],
};
/** A number before the camera is put into the history when it was read in this many frames, now with this confidence. */
const STEADY_FRAMES = 5;
const STEADY_CONFIDENCE = 0.7;
/** It is new when it was not read for this time, in ms. */
const FORGOTTEN_AFTER = 3000;

const byId = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const [stage, canvas, message] = [byId("stage"), byId<HTMLCanvasElement>("view"), byId("message")];
const [startButton, switchButton] = [byId<HTMLButtonElement>("start"), byId<HTMLButtonElement>("switch")];

let mode: Mode = "picture";
let placement: Placement | null = null;
let picture: Picture | null = null;
/** The last frame of the camera that was read. */
let frame: HTMLCanvasElement | null = null;
/** The last answer of each mode, and how fast it was. */
const results: Record<Mode, [answer: Answer | null, speed: string]> = { picture: [null, ""], pad: [null, ""], camera: [null, ""] };
/** What is drawn over the picture, the pad or the camera. */
let numbers: readonly NumberFound[] = [];
/** Counts what is to be read in each mode, so that the answer to an older question is not shown. */
const question: Record<Mode, number> = { picture: 0, pad: 0, camera: 0 };

const history = new History(byId("rows"), (isEmpty) => {
  byId("no-rows").hidden = !isEmpty;
  for (const id of ["copy", "forget"]) byId<HTMLButtonElement>(id).disabled = isEmpty;
});
const camera = new Camera();
const pad = new Pad(canvas, () => (mode === "pad" ? placement : null), padChanged, () => void readPad());
/** The address of a model that is not the page's. */
const ownModel = new URLSearchParams(location.search).get("model");
const client = new Client(ownModel, {
  progress(loaded, total) {
    byId<HTMLProgressElement>("progress").value = loaded / total;
    byId("loading-text").textContent = `Loading the network: ${megabytes(loaded)} of ${megabytes(total)} MB`;
  },
  ready(model) {
    byId("loading").hidden = true;
    const isKept = ownModel === null && navigator.serviceWorker !== undefined;
    byId("about").textContent =
      `Network: ${model}. It runs in this browser` + (isKept ? ", and without a connection after the first visit." : ".");
    document.body.dataset["ready"] = "true";
  },
  failed(text) {
    byId("loading").hidden = true;
    showError(text);
  },
});

const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);

// What is shown

function redraw(): void {
  const [shown, width, height] =
    mode === "pad"
      ? [pad.paper, Pad.WIDTH, Pad.HEIGHT]
      : mode === "camera"
        ? [camera.isRunning ? shownFrame() : null, camera.video.videoWidth || 640, camera.video.videoHeight || 480]
        : [picture?.shown ?? null, picture?.width ?? 640, picture?.height ?? 480];
  placement = draw(canvas, shown, width, height, numbers);
  const isEmpty = mode === "pad" ? pad.isEmpty : !shown;
  byId("empty").hidden = !isEmpty;
  const what = { picture: "Picture", pad: "Drawing pad", camera: "Camera" }[mode];
  const found = numbers.map((n) => n.number).join(", ");
  canvas.setAttribute("aria-label", isEmpty ? `${what}: nothing yet` : `${what}: ${found ? `reads ${found}` : "no number found"}`);
}

/** The frame in which the numbers were read, so that their boxes fit; the newest one where there are none. */
const shownFrame = () => (numbers.length && frame ? frame : camera.video);

/** Keeps the last answer of a mode, and shows it if it is the mode that is shown. */
function showResult(of: Mode, answer: Answer | null, speed = ""): void {
  results[of] = [answer, speed];
  if (of !== mode) return;
  numbers = answer?.numbers ?? [];
  const best = numbers[0];
  const number = byId("number");
  setText(number, best?.number ?? (answer ? "No number found" : "Nothing read yet"));
  number.classList.toggle("none", !best);
  setText(byId("confidence"), best ? `${Math.round(best.confidence * 100)}% sure` : "");
  byId("bar").style.width = `${(best?.confidence ?? 0) * 100}%`;
  byId("others").replaceChildren(
    ...numbers.slice(1).map((other) => {
      const item = document.createElement("li");
      const confidence = document.createElement("span");
      confidence.textContent = ` ${Math.round(other.confidence * 100)}%`;
      item.append(other.number, confidence);
      return item;
    }),
  );
  byId("speed").textContent = speed;
  redraw();
}

/** Sets a text where it has changed, so that a screen reader says it once. */
function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

function showError(text: string): void {
  message.textContent = text;
  message.hidden = false;
}

/** Runs what may fail with a message for the person. */
async function attempt(action: () => Promise<void>): Promise<void> {
  message.hidden = true;
  try {
    await action();
  } catch (error) {
    showError(error instanceof UserError ? error.message : `Something went wrong: ${String(error)}`);
  }
}

// Modes

function setMode(next: Mode): void {
  if (mode === "camera" && next !== "camera") stopCamera();
  mode = next;
  document.querySelector<HTMLInputElement>(`input[name="mode"][value="${next}"]`)!.checked = true;
  for (const actions of document.querySelectorAll<HTMLElement>(".actions")) actions.hidden = actions.dataset["mode"] !== next;
  stage.classList.toggle("drawing", next === "pad");
  const [title, text] = HINTS[next];
  byId("empty").replaceChildren(Object.assign(document.createElement("strong"), { textContent: title }), text);
  message.hidden = true;
  showResult(next, ...results[next]);
}

// Pictures

async function readFile(load: () => Promise<Blob>, name: string): Promise<void> {
  if (mode !== "picture") setMode("picture");
  const asked = ++question.picture;
  picture = null;
  showResult("picture", null);
  await attempt(async () => {
    try {
      const opened = await openPicture(await load());
      if (asked !== question.picture) return;
      picture = opened;
      showResult("picture", null, "Reading …");
      const answer = await client.read("picture", opened.pixels);
      if (asked !== question.picture) return;
      const speed = `Read in ${Math.round(answer.milliseconds)} ms; ${opened.width} x ${opened.height} pixels`;
      showResult("picture", answer, speed);
      for (const number of answer.numbers) history.add(name, number);
    } catch (error) {
      if (asked !== question.picture) return;
      showResult("picture", null);
      throw error;
    }
  });
}

function readFirst(files: Iterable<File> | null | undefined): void {
  const [file] = [...(files ?? [])];
  if (file) void readFile(async () => file, file.name || "pasted");
  else showError("There is no picture in it. Take a picture file, or copy a picture first.");
}

// The pad

function padChanged(): void {
  if (mode !== "pad") return;
  question.pad++;
  numbers = [];
  redraw();
}

async function readPad(): Promise<void> {
  const asked = ++question.pad;
  if (pad.isEmpty) return showResult("pad", null);
  await attempt(async () => {
    const answer = await client.read("picture", pixelsOf(pad.paper));
    if (asked !== question.pad) return;
    showResult("pad", answer, `Read in ${Math.round(answer.milliseconds)} ms`);
    if (answer.numbers[0]) history.add("drawing", answer.numbers[0]);
  });
}

// The camera

async function startCamera(deviceId?: string): Promise<void> {
  await attempt(async () => {
    const started = await camera.start(cameraEnded, deviceId).catch((error: unknown) => {
      stopCamera(); // another camera may have run
      throw error;
    });
    if (!started) return;
    startButton.textContent = "Stop the camera";
    void attempt(follow);
    void film();
    switchButton.hidden = !(await camera.other());
  });
}

function cameraEnded(): void {
  stopCamera();
  showError("The camera was disconnected. Connect it, or choose another one, and start it again.");
}

function stopCamera(): void {
  camera.stop();
  startButton.textContent = "Start the camera";
  switchButton.hidden = true;
  question.camera++;
  showResult("camera", null);
}

/** Shows every frame while there is no number; `follow` shows those with numbers. */
async function film(): Promise<void> {
  const asked = question.camera;
  while (asked === question.camera) {
    await camera.nextFrame();
    if (asked === question.camera && !numbers.length) redraw();
  }
}

/** Reads frame after frame; those that come while one is read are left out. */
async function follow(): Promise<void> {
  const asked = ++question.camera;
  const times: number[] = [];
  const seen = new Map<string, { frames: number; last: number; isListed: boolean }>();
  for (let restart = true; ; restart = false) {
    await camera.nextFrame();
    if (asked !== question.camera) return;
    const { videoWidth, videoHeight } = camera.video;
    if (!videoWidth || document.hidden) continue;
    const read = onWhite(camera.video, videoWidth, videoHeight);
    const answer = await client.read("frame", pixelsOf(read), restart).catch((error: unknown) => {
      if (asked === question.camera) stopCamera();
      throw error;
    });
    if (asked !== question.camera) return;
    frame = read;
    times.push(performance.now());
    if (times.length > 20) times.shift();
    const rate = times.length > 1 ? (1000 * (times.length - 1)) / (times.at(-1)! - times[0]!) : 0;
    showResult("camera", answer, `${rate.toFixed(0)} frames/s; the last one read in ${Math.round(answer.milliseconds)} ms`);
    const now = performance.now();
    for (const found of answer.numbers) {
      const before = seen.get(found.number);
      const isNew = !before || now - before.last > FORGOTTEN_AFTER;
      const { frames, isListed } = isNew ? { frames: 0, isListed: false } : before;
      const isSteady = frames + 1 >= STEADY_FRAMES && found.confidence >= STEADY_CONFIDENCE;
      if (isSteady && !isListed) history.add("camera", found);
      seen.set(found.number, { frames: frames + 1, last: now, isListed: isListed || isSteady });
    }
  }
}

// Controls

for (const input of document.querySelectorAll<HTMLInputElement>('input[name="mode"]')) {
  input.addEventListener("change", () => setMode(input.value as Mode));
}
const file = byId<HTMLInputElement>("file");
byId("choose").addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  if (file.files?.length) readFirst(file.files);
  file.value = ""; // so that the same file can be chosen again
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) stage.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("dropping");
  readFirst(event.dataTransfer?.files);
});
document.addEventListener("paste", (event) => readFirst(event.clipboardData?.files));

byId("undo").addEventListener("click", () => pad.undo());
byId("clear").addEventListener("click", () => pad.clear());
startButton.addEventListener("click", () => (camera.isRunning ? stopCamera() : void startCamera()));
switchButton.addEventListener("click", () => void camera.other().then((id) => startCamera(id)));
byId("forget").addEventListener("click", () => history.clear());
byId("copy").addEventListener("click", () => {
  void attempt(async () => {
    try {
      await navigator.clipboard.writeText(history.csv()); // there is no clipboard over plain HTTP
    } catch {
      throw new UserError("The browser does not let this page copy. Allow the clipboard for it, or open it over HTTPS.");
    }
    byId("copied").textContent = "The history was copied.";
    byId("copy").textContent = "Copied";
    setTimeout(() => (byId("copy").textContent = "Copy as CSV"), 1500);
  });
});
new ResizeObserver(redraw).observe(canvas);

const examples = document.querySelector(".examples")!;
for (const { file: name, title } of EXAMPLES) {
  const button = Object.assign(document.createElement("button"), { type: "button", title });
  button.append(Object.assign(new Image(), { src: `examples/${name}`, alt: title }));
  button.addEventListener("click", () => {
    const load = async () => {
      const response = await fetch(`examples/${name}`).catch(() => null);
      if (!response?.ok) throw new UserError(`The example ${name} cannot be loaded.`);
      return response.blob();
    };
    void readFile(load, name);
  });
  examples.append(button);
}

setMode("picture");
void navigator.serviceWorker?.register("service_worker.js").catch(() => undefined); // the page works without it
