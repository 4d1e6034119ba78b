// Keeps the page for visits without a network. The network's file and its runtime are kept by files.ts, by their SHA-256.

/** The files of the page, and a hash of their content; the build fills them in. */
declare const PAGE_FILES: readonly string[];
declare const PAGE_VERSION: string;

const NAME = "seqdigits-page-";
const CACHE = `${NAME}${PAGE_VERSION}`;
const worker = self as unknown as ServiceWorkerGlobalScope;
/** It changes when another network is served, and so comes from the server where there is one. */
const MODEL = "model.json";

worker.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CACHE);
      await cache.addAll([...PAGE_FILES, MODEL].map((file) => new Request(file, { cache: "no-cache" })));
      await worker.skipWaiting();
    })(),
  );
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      const old = (await caches.keys()).filter((name) => name.startsWith(NAME) && name !== CACHE);
      await Promise.all(old.map((name) => caches.delete(name)));
      await worker.clients.claim();
    })(),
  );
});

worker.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== worker.location.origin) return;
  event.respondWith(url.pathname.endsWith(`/${MODEL}`) ? newest(event.request) : kept(event.request));
});

/** The answer of the server, or without a connection the one that is kept. */
async function newest(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const response = await cache.match(request);
    if (!response) throw error;
    return response;
  }
}

/** A file of the page as it is kept, whatever the query; any other file from the server. */
async function kept(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  return (await cache.match(request, { ignoreSearch: true })) ?? fetch(request);
}
