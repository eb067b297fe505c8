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


def test_a_worker_says_all_that_the_recognizer_itself_says(page: Page) -> None:
    found = page.evaluate(
        """async (strokes) => {
          const squares = [0, 3, 6].map((d) => [[[0, 0], [90 + d, d], [88, 95 - d], [d, 90], [0, 0]]]);
          const message = ({ name, message }) => `${name}: ${message}`;
          const answers = [];
          for (const file of ["quickstroke", "worker"]) {
            const { load } = await import(`/cdn/${file}.js`);
            const one = await load("../../models/small.quickstroke");
            const call = async (name, ...args) => one[name](...args);
            await call("teach", "robot", squares, { layout: "points" });
            const text = await one.save();
            const taught = [one.taught, one.words, await one.predict(squares[0]), text];
            await call("forget", "Robot");
            const forgotten = [one.taught, one.words, await one.predict(squares[0])];
            await call("restore", text);
            const again = [one.taught, one.words, await one.predict(squares[0])];
            const refused = [];
            const wrong = [
              ["forget", "house keeper"], ["restore", "{"], ["teach", "hat", squares.slice(1)], ["teach", 5, squares],
              ["predict", [[[1, 2], [NaN, 3]]]], ["embed", []], ["predict", strokes, null],
              ["predict", strokes, { words: [] }], ["loadTeaching", new Uint8Array([1])],
            ];
            for (const args of wrong) {
              refused.push(await call(...args).catch(message));
            }
            answers.push([taught, forgotten, again, refused, [...(await one.embed(strokes))]]);
            one.close?.();
          }
          return answers;
        }""",
        TRIANGLE,
    )
    assert found[1] == found[0]
    taught, forgotten, again, refused, embedding = found[0]
    assert taught[:2] == again[:2] == [{"robot": 3}, [*forgotten[1], "robot"]] and forgotten[0] == {}
    assert taught[2] == again[2] != forgotten[2] and len(embedding) > 4
    kinds = ["OptionError"] * 4 + ["StrokesError"] * 2 + ["OptionError"] * 2 + ["ModelError"]
    assert [each.split(":")[0] for each in refused] == kinds


def test_what_a_closed_worker_was_asked_is_refused(page: Page) -> None:
    found = page.evaluate(
        """async (strokes) => {
          const { load } = await import("/cdn/worker.js");
          const recognizer = await load("../../models/small.quickstroke");
          const asked = [recognizer.predict(strokes), recognizer.save()];
          recognizer.close();
          asked.push(recognizer.embed(strokes));
          return Promise.all(asked.map((each) => each.catch(({ name, message }) => `${name}: ${message}`)));
        }""",
        TRIANGLE,
    )
    assert found == ["ModelError: the recogniser was closed"] * 3


def test_a_worker_that_a_policy_forbids_is_told(page: Page, host: str) -> None:
    headers = {"content-type": "text/html", "content-security-policy": "worker-src 'none'"}
    page.route("**/strict/", lambda route: route.fulfill(body="<!doctype html>", headers=headers))
    page.goto(f"{host}strict/")
    found = page.evaluate("""async () => {
      const { load } = await import("/cdn/worker.js");
      return load("/models/small.quickstroke").catch(({ name, message }) => `${name}: ${message}`);
    }""")
    told = "the worker could not be started; a Content-Security-Policy has to allow blob: for workers"
    assert found == f"ModelError: /models/small.quickstroke: {told}"


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
