/** Asks the server that gave this page. */

import { RecognizerError } from "./guesser.js";

const TIMEOUT_MS = 10_000;
const TOP = 5;
const AGAIN = " Trying again; your drawing stays.";
// Of a server that wants one; what stands behind # is sent to nobody.
// As it stands, since `+` and `&` may be part of it, but for what an address writes as %2B.
const token = () => location.hash.match(/[#&]token=(.*)/)?.[1].replace(/%[2-7][\dA-F]/gi, decodeURIComponent);

/** @implements {import("./guesser.js").Recognizer} */
export class HttpRecognizer {
  // Over a line of 100 ms, answers still come 20 times a second and more.
  nAtOnce = 3;

  load() {
    return this.#json("api/v1/model", { cache: "no-store" });
  }

  recognize(strokes, signal) {
    const columns = strokes.map(([xs, ys]) => [xs, ys]); // without times
    return this.#json(
      "api/v1/recognize",
      {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ strokes: columns, layout: "columns", simplified: false, top: TOP }),
      },
      signal,
    );
  }

  /** The strokes, simplified, that a picture shows. */
  async trace(file) {
    const options = { method: "POST", headers: { "content-type": file.type }, body: file };
    try {
      return (await this.#json("api/v1/recognize-picture?top=1", options)).strokes;
    } catch (error) {
      const told = error.message.replace(AGAIN, "").replace("guess right now", "read this picture");
      throw new Error(told.replace("this drawing", "this picture"));
    }
  }

  async #json(path, options, given) {
    // Not by AbortSignal.any and AbortSignal.timeout: browsers of 2023 have none.
    const controller = new AbortController();
    const giveUp = () => controller.abort();
    given?.addEventListener("abort", giveUp);
    const timer = setTimeout(giveUp, TIMEOUT_MS);
    let response, body;
    try {
      const headers = { ...options.headers, ...(token() && { authorization: `Bearer ${token()}` }) };
      response = await fetch(path, { ...options, headers, signal: controller.signal });
      body = await response.json().catch(() => null);
    } catch {
      throw new RecognizerError(`The server does not answer.${AGAIN}`, true);
    } finally {
      clearTimeout(timer);
    }
    if (response.ok && body) return body;
    if (response.status === 401) {
      const message = token()
        ? "This server does not know the token in the address of this page."
        : "This server wants a token: add #token=… to the address of this page.";
      throw new RecognizerError(message, true);
    }
    const reason = body?.error?.message ?? `it answered with status ${response.status}`;
    const isTransient = response.ok || response.status >= 500 || response.status === 429 || response.status === 408;
    throw new RecognizerError(
      isTransient
        ? `The server cannot guess right now: ${reason}.${AGAIN}`
        : `The server refused this drawing: ${reason}.`,
      isTransient,
    );
  }
}
