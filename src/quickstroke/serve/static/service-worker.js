/**
 * Keeps an exported folder in the browser, so that its page opens without a network after the first visit. `quickstroke
 * export --to web` fills in the files and a hash of them all: another export is another text, which the browser notices. It then
 * fetches all anew, and changes over when the page is opened or loaded once more and no other tab shows it, never in parts.
 */

const FILES = [];
const VERSION = "";

const hereOf = (name) => new URL(name, self.registration.scope).href;
const addresses = new Set(FILES.map(hereOf));
// Folders of one host share what they keep; each has names of its own.
const prefix = `quickstroke ${self.registration.scope} `;
const cacheName = prefix + VERSION;

self.addEventListener("install", (event) => {
  // What the browser has in its own cache it asks about again, and need not fetch.
  const requests = [...addresses].map((address) => new Request(address, { cache: "no-cache" }));
  event.waitUntil(caches.open(cacheName).then((cache) => Promise.all(requests.map((request) => keep(cache, request)))));
});

async function keep(cache, request) {
  const { ok, status, statusText, headers, body } = await fetch(request);
  if (!ok) throw new TypeError(`${request.url}: ${status}`);
  // Not as it came: a host may answer `index.html` by another address, and no browser opens a page by such an answer.
  await cache.put(request, new Response(body, { status, statusText, headers }));
}

// A page that was loaded once more while this worker waited asks it to begin.
self.addEventListener("message", async () => {
  const windows = await self.clients.matchAll({ includeUncontrolled: true });
  if (windows.filter(({ url }) => url.startsWith(self.registration.scope)).length === 1) self.skipWaiting();
});

self.addEventListener("activate", (event) => {
  const isOld = (name) => name.startsWith(prefix) && name !== cacheName;
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter(isOld).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  const address = url.split(/[?#]/)[0];
  const wanted = address === self.registration.scope ? hereOf("index.html") : address;
  if (method !== "GET" || !addresses.has(wanted)) return;
  event.respondWith(caches.match(wanted, { cacheName }).then((kept) => kept ?? fetch(event.request)));
});
