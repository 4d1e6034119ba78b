// Downloads files with progress, checks their SHA-256, and keeps those with a known one for later visits without a network.

import { UserError } from "./errors.ts";

const CACHE = "seqdigits-files";

/** A file of which size and SHA-256 are known before it is there. */
export interface PinnedFile {
  readonly url: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Returns the content of a pinned file. `progress` is told how many more bytes have come. */
export async function loadPinned(file: PinnedFile, what: string, progress: (bytes: number) => void): Promise<Uint8Array> {
  const key = `${file.url}?sha256=${file.sha256}`;
  const kept = await (await openCache())?.match(key).catch(() => undefined);
  if (kept) {
    const content = new Uint8Array(await kept.arrayBuffer());
    if (await hasHash(content, file.sha256)) {
      progress(file.bytes);
      return content;
    }
  }
  const content = await download(key, what, progress);
  if (!(await hasHash(content, file.sha256))) {
    throw new UserError(`${what} (${file.url}) is damaged: its SHA-256 is not the expected one. Put the file there again, and reload.`);
  }
  await keep(key, content);
  return content;
}

/** Downloads a file. */
export async function download(url: string, what: string, progress: (bytes: number) => void): Promise<Uint8Array> {
  const response = await fetch(url, { cache: "no-cache" }).catch(() => {
    throw new UserError(`${what} cannot be downloaded from ${url}: no connection, or the server does not allow it.`);
  });
  if (!response.ok) throw new UserError(`${what} cannot be downloaded from ${url}: the server says ${response.status}.`);
  const parts: Uint8Array[] = [];
  const reader = response.body!.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw new UserError(`The download of ${what} broke off. Reload the page to try again.`);
    });
    if (done) break;
    parts.push(value);
    progress(value.length);
  }
  return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
}

/** Returns a file that gzip compressed. */
export async function gunzip(content: Uint8Array): Promise<Uint8Array> {
  if (typeof DecompressionStream === "undefined") throw new UserError("This browser is too old for the page. Try a newer one.");
  const stream = new Blob([content as BlobPart]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Keeps the description of a model whose files are kept, for visits without a network, and nothing else but these files. */
export async function keepOnly(files: readonly PinnedFile[], description: string, content: Uint8Array): Promise<void> {
  await keep(description, content);
  const keys = [description, ...files.map((file) => `${file.url}?sha256=${file.sha256}`)].map((key) => new URL(key, location.href).href);
  const cache = await openCache();
  for (const request of (await cache?.keys().catch(() => [])) ?? []) {
    if (!keys.includes(request.url)) await cache!.delete(request).catch(() => undefined);
  }
}

async function keep(key: string, content: Uint8Array): Promise<void> {
  // A full disk, or a private window, is no reason to fail: the next visit downloads again.
  await (await openCache())?.put(key, new Response(content as BodyInit)).catch(() => undefined);
}

/** The cache of the browser; there is none where the page has come over plain HTTP from another machine. */
async function openCache(): Promise<Cache | undefined> {
  return typeof caches === "undefined" ? undefined : caches.open(CACHE).catch(() => undefined);
}

/** Over plain HTTP from another machine, a browser computes no SHA-256; whoever could change a file could change the page too. */
async function hasHash(content: Uint8Array, sha256: string): Promise<boolean> {
  if (!crypto.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content as BufferSource));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}
