// Keeps the page for visits without a network. The network's file and its runtime are kept by files.ts, by their SHA-256.

/** The files of the page, and a hash of their content; the build fills them in. */
declare const PAGE_FILES: readonly string[];
declare const PAGE_VERSION: string;

const NAME = "seqdigits-page-";
const CACHE = `${NAME}${PAGE_VERSION}`;
const worker = self as unknown as ServiceWorkerGlobalScope;
/** It changes when another network is served, and so comes from the server where there is one; files.ts keeps it. */
const MODEL = "model.json";
/** The page has this in its head: where the server answers with another page, another program has its address now. */
const MARK = '<meta name="generator" content="seqdigits" />';
/** How long the server is waited for before the page that is kept is shown, in ms. */
const PATIENCE = 3000;

worker.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CACHE);
      await cache.addAll(PAGE_FILES.map((file) => new Request(file, { cache: "no-cache" })));
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
  if (event.request.mode === "navigate") event.respondWith(page(event.request));
  else event.respondWith(url.pathname.endsWith(`/${MODEL}`) ? newest(event.request) : kept(event.request));
});

/** The page as it is kept; or what the server has in its place, and then this worker ends. */
async function page(request: Request): Promise<Response> {
  const answer = await fetch(request, { signal: AbortSignal.timeout(PATIENCE) }).catch(() => null);
  const isOther =
    answer !== null &&
    (answer.type === "opaqueredirect" || answer.status === 404 || (answer.ok && !(await answer.clone().text()).includes(MARK)));
  if (!isOther) return kept(request);
  await worker.registration.unregister();
  return answer;
}

/** The answer of the server, or without a connection the one that is kept. */
async function newest(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    const response = await caches.match(request);
    if (!response) throw error;
    return response;
  }
}

/** A file of the page as it is kept, whatever the query; any other file from the server. */
async function kept(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  return (await cache.match(request, { ignoreSearch: true })) ?? fetch(request);
}
