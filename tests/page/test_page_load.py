"""What the npm package takes a model from, and lets go of, in pages of all kinds."""

import pytest
from playwright.sync_api import Page

from quickstroke.export import compact

TRIANGLE = [[[10, 10], [60, 12], [35, 80], [10, 10]]]


def test_what_another_window_made_is_taken(page: Page, model: compact.Compacted) -> None:
    found = page.evaluate("""async () => {
      const { load } = await import("/cdn/quickstroke.js");
      const frame = document.createElement("iframe");
      document.body.append(frame);
      const { contentWindow: other } = frame;
      const address = new other.URL("../../models/small.quickstroke", location.href);
      const bytes = await (await other.fetch(address)).arrayBuffer();
      const { signal } = new other.AbortController();
      const all = [load(bytes), load(address, { signal }), load(new other.Uint8Array(bytes), { signal: null })];
      return (await Promise.all(all)).map(({ name }) => name);
    }""")
    assert found == [model.model.name] * 3


def test_loading_ends_whenever_it_is_asked_to(page: Page) -> None:
    found = page.evaluate("""async () => {
      const bytes = await (await fetch("../../models/small.quickstroke")).arrayBuffer();
      const names = [];
      for (const file of ["quickstroke", "worker"]) {
        const { load } = await import(`/cdn/${file}.js`);
        const stopping = new AbortController();
        const loading = load(bytes, { signal: stopping.signal });
        await null;
        stopping.abort();
        names.push(await loading.then(() => "loaded", ({ name }) => name));
      }
      return names;
    }""")
    assert found == ["AbortError", "AbortError"]


def test_an_error_names_the_address(page: Page) -> None:
    found = page.evaluate("""async () => {
      const messages = [];
      for (const file of ["quickstroke", "worker"]) {
        const { load } = await import(`/cdn/${file}.js`);
        messages.push(await load("/app/deep/").catch(({ name, message }) => `${name}: ${message}`));
      }
      return messages;
    }""")
    # A server's own page in place of a model is known by what it begins with.
    message = (
        'ModelError: /app/deep/: this is no .quickstroke file, it begins with "<!doctype html><title>so"; expected one '
        "of `quickstroke export --to quickstroke`"
    )
    assert found == [message] * 2


def test_a_framework_may_keep_the_recognizer_of_a_worker(page: Page) -> None:
    """Vue and its like make proxies of what can be extended, and no proxy has private members."""
    found = page.evaluate(
        """async (strokes) => {
          const { load } = await import("/cdn/worker.js");
          const recognizer = await load("../../models/small.quickstroke");
          const kept = Object.isExtensible(recognizer) ? new Proxy(recognizer, {}) : recognizer;
          const { guesses } = await kept.predict(strokes, { top: 1 });
          await kept.teach("robot", [strokes, strokes, strokes]);
          const told = [guesses.length, kept.words.at(-1), kept.taught];
          kept.close();
          return told;
        }""",
        TRIANGLE,
    )
    assert found == [1, "robot", {"robot": 3}]


@pytest.mark.parametrize("allowed", ["quickstroke", "none-of-these"])
def test_a_worker_starts_where_trusted_types_are_required(page: Page, host: str, allowed: str) -> None:
    policy = f"require-trusted-types-for 'script'; trusted-types {allowed}"
    headers = {"content-type": "text/html", "content-security-policy": policy}
    page.route("**/strict/", lambda route: route.fulfill(body="<!doctype html>", headers=headers))
    page.goto(f"{host}strict/")
    found = page.evaluate(
        """async (strokes) => {
          const { load } = await import("/cdn/worker.js");
          const open = () => load("/models/small.quickstroke");
          try {
            const [first, second] = [await open(), await open()];
            const { guesses } = await second.predict(strokes, { top: 1 });
            first.close();
            second.close();
            return `${guesses.length}`;
          } catch ({ name, message }) {
            return `${name}: ${message}`;
          }
        }""",
        TRIANGLE,
    )
    if allowed == "quickstroke":
        assert found == "1"
    else:
        assert found.startswith("ModelError: the worker could not be started: ")
        assert found.endswith("a page that requires trusted types has to allow the policy quickstroke")
