// Loads the network and reads pictures, beside the page, so that the page stays responsive.

import { createEngine } from "./engine.ts";
import { UserError } from "./errors.ts";
import { download, gunzip, keepOnly, loadPinned, type PinnedFile } from "./files.ts";
import type { Message, Request } from "./messages.ts";
import { type Engine, readPicture } from "./reader.ts";
import { Tracker } from "./tracker.ts";

/** ONNX Runtime's WebAssembly, compressed by gzip; the build fills it in. */
declare const RUNTIME: PinnedFile;

/** Size of a model of which the size is not known, for the progress. */
const USUAL_MODEL_BYTES = 2_000_000;

const page = self as unknown as {
  readonly name: string;
  postMessage(message: Message): void;
  onmessage: (event: MessageEvent<Request>) => void;
};
const DESCRIPTION = "model.json";
/** The address of a model that is not the page's, which client.ts passes as the name of this worker; "" = none. */
const address = page.name;
let engine = load();
let tracker: Tracker | undefined;

/** What the file model.json beside the page says. */
interface ModelFile extends PinnedFile {
  readonly name: string;
  /** When to ask again whether there is another model; null where it never changes. */
  readonly reload_seconds: number | null;
}

interface Described {
  readonly model: ModelFile;
  /** The description as it was downloaded. */
  readonly content: Uint8Array;
}

async function load(): Promise<Engine> {
  const described = address ? null : await modelFile();
  const model = described?.model ?? { url: address, bytes: USUAL_MODEL_BYTES, name: address, sha256: null };
  const total = RUNTIME.bytes + model.bytes;
  let loaded = 0;
  const progress = (bytes: number) => {
    loaded = Math.min(loaded + bytes, total);
    page.postMessage({ kind: "progress", loaded, total });
  };
  const modelContent =
    model.sha256 === null
      ? await download(model.url, "The model", progress)
      : await loadPinned(model, "The model", progress);
  const runtime = await gunzip(await loadPinned(RUNTIME, "The runtime", progress));
  const engine = await createEngine(runtime, modelContent);
  if (described) {
    await keepOnly([RUNTIME, described.model], DESCRIPTION, described.content);
    void follow(described.model, runtime);
  }
  page.postMessage({ kind: "ready", model: model.name });
  return engine;
}

/** Loads the model again whenever model.json names another one. */
async function follow(model: ModelFile, runtime: Uint8Array): Promise<void> {
  for (let shown = model; shown.reload_seconds; ) {
    await new Promise((resolve) => setTimeout(resolve, shown.reload_seconds! * 1000));
    try {
      const { model: newest, content } = await modelFile();
      if (newest.sha256 === shown.sha256) continue;
      const newer = await createEngine(runtime, await loadPinned(newest, "The model", () => undefined));
      last = last.then(() => replaceEngine(newer)); // the older one may be reading
      await last;
      shown = newest;
      page.postMessage({ kind: "ready", model: newest.name });
      await keepOnly([RUNTIME, newest], DESCRIPTION, content);
    } catch {
      // Without a connection, or while the file is written: the model that is there reads on.
    }
  }
}

async function replaceEngine(newer: Engine): Promise<void> {
  const older = await engine;
  engine = Promise.resolve(newer);
  tracker = undefined;
  await older.release().catch(() => undefined);
}

async function modelFile(): Promise<Described> {
  const content = await download(DESCRIPTION, "The description of the model", () => undefined);
  try {
    return { model: JSON.parse(new TextDecoder().decode(content)) as ModelFile, content };
  } catch {
    throw new UserError("The description of the model (model.json) is damaged. Write it again: seqdigits demo");
  }
}

async function answer({ id, kind, pixels, restart }: Request): Promise<void> {
  const loaded = await engine;
  const start = performance.now();
  if (kind === "frame" && (restart || !tracker)) tracker = new Tracker(loaded);
  const numbers = kind === "frame" ? await tracker!.next(pixels) : await readPicture(loaded, pixels);
  page.postMessage({ kind: "answer", id, answer: { numbers, milliseconds: performance.now() - start } });
}

const messageOf = (error: unknown): string =>
  error instanceof UserError ? error.message : `Something went wrong: ${String(error)}`;

engine.catch((error: unknown) => page.postMessage({ kind: "failed", message: messageOf(error) }));
let last: Promise<void> = Promise.resolve();
page.onmessage = ({ data }) => {
  const refuse = (error: unknown) => page.postMessage({ kind: "refused", id: data.id, message: messageOf(error) });
  last = last.then(() => answer(data).catch(refuse)); // one after the other
};
