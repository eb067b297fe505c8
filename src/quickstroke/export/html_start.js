// Starts a page that is one file: its modules become addresses that an import map knows.
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("modules").textContent), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const modules = await new Response(unpacked).json();
  const address = (text) => `data:text/javascript;charset=utf-8,${encodeURIComponent(text)}`;
  const map = document.createElement("script");
  map.type = "importmap";
  map.textContent = JSON.stringify({
    imports: Object.fromEntries(Object.entries(modules).map(([name, text]) => [`quickstroke/${name}`, address(text)])),
  });
  document.head.append(map);

  // From `file://` browsers start no module as a worker, but a script may import one; what is told meanwhile is told again.
  // An import map does not hold there, so what the module imports stands in its text.
  globalThis.quickstrokeWorker = (name) => {
    const text = modules[name].replace(/"quickstroke\/([\w.-]+)"/g, (_, used) => JSON.stringify(address(modules[used])));
    return `
      const early = [], keep = (event) => early.push(event.data);
      addEventListener("message", keep);
      import(${JSON.stringify(address(text))}).then(() => {
        removeEventListener("message", keep);
        for (const data of early) dispatchEvent(new MessageEvent("message", { data }));
      });`;
  };
  import("quickstroke/app.js");
})();
