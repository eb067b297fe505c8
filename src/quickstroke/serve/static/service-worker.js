/**
 * Keeps an exported folder in the browser, so that its page opens without a network after the first visit. `quickstroke
 * export --to web` fills in the files and a hash of them all: another export is another text, which the browser notices. It then
 * fetches all anew and changes over when the page is next opened, never in parts.
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
  event.waitUntil(caches.open(cacheName).then((cache) => cache.addAll(requests)));
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
