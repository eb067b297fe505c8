// Run by tests/page/test_page_package.py, which gives the bundle and a small model with the words circle, house and star.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const { load, simplify, Recognizer, ModelError, StrokesError, OptionError } = await import(
  pathToFileURL(process.env.QUICKSTROKE_BUNDLE)
);
const { sha256 } = await import("../src/sha256.js");
const { positionsOf } = await import("../src/vocabulary.js");
const { Discriminant } = await import("../src/discriminant.js");
const { guessing } = await import("../src/newest.js");
const { readModel } = await import("../src/model-file.js");
const path = process.env.QUICKSTROKE_MODEL;
const bytes = new Uint8Array(await readFile(path));
const recognizer = await load(bytes);
const TRIANGLE = [[[10, 10], [60, 12], [35, 80], [10, 10]]];
const COLUMNS = [[[10, 60, 35, 10], [10, 12, 80, 10]]];

/** The file with some bytes changed, and the hash that then belongs to it. */
function changed(change, { sealed = true } = {}) {
  const copy = bytes.slice();
  change(copy, new DataView(copy.buffer));
  if (sealed) copy.set(sha256(copy.subarray(0, -32)), copy.length - 32);
  return copy;
}

const refused = (source, message) => assert.rejects(load(source), (error) => error instanceof ModelError && message.test(error.message));
const throws = (kind, message, strokes, options) =>
  assert.throws(() => recognizer.predict(strokes, options), (error) => error instanceof kind && message.test(error.message));

test("a model is opened from its path, address or bytes, and says what it is", async () => {
  for (const source of [path, pathToFileURL(path), String(pathToFileURL(path)), bytes.buffer, Buffer.from(bytes)]) {
    const one = await load(source);
    assert.deepEqual(one.words, ["circle", "house", "star"]);
    assert.equal(one.name, one.card.name);
    assert.ok(Object.isFrozen(one)); // frameworks leave it alone
    assert.deepEqual(one.predict(TRIANGLE), recognizer.predict(TRIANGLE));
  }
  assert.throws(() => new Recognizer(), ModelError);
  const names = [ModelError, StrokesError, OptionError].map(({ name }) => name); // not the short ones of the bundle
  assert.deepEqual(names, ["ModelError", "StrokesError", "OptionError"]);
});

test("guesses are ranked, and sum to 1", () => {
  const { guesses, unknown } = recognizer.predict(TRIANGLE);
  assert.ok(unknown > 0 && unknown < 1);
  const { probability } = guesses.find(({ word }) => word === "star");
  const ofStar = recognizer.predict(TRIANGLE, { words: ["star"] }).unknown;
  assert.ok(Math.abs(ofStar - (1 - (1 - unknown) * probability)) < 1e-12);
  assert.equal(guesses.length, 3);
  assert.ok(Math.abs(guesses.reduce((sum, { probability }) => sum + probability, 0) - 1) < 1e-12);
  assert.ok(guesses[0].probability >= guesses[1].probability && guesses[1].probability >= guesses[2].probability);
  assert.deepEqual(recognizer.predict(TRIANGLE, { top: 1 }).guesses, guesses.slice(0, 1));
  throws(OptionError, /^top should be 1 or more, got 0$/, TRIANGLE, { top: 0 });
});

test("words that differ in letter case alone are told apart", () => {
  const classes = ["A", "a", "Straße", "ガ"];
  for (const [i, word] of classes.entries()) assert.deepEqual(positionsOf(classes, [word]), [i]);
  assert.deepEqual(positionsOf(classes, ["a", " A ", "straße", "カ\u3099"]), [0, 1, 2, 3]);
  assert.throws(() => positionsOf(classes, ["A", "a", "A"]), /^OptionError: words has "A" twice$/);
});

test("some words alone share all probability", () => {
  const all = new Map(recognizer.predict(TRIANGLE).guesses.map(({ word, probability }) => [word, probability]));
  const { guesses } = recognizer.predict(TRIANGLE, { words: new Set([" STAR", "circle"]) });
  assert.deepEqual(new Set(guesses.map(({ word }) => word)), new Set(["circle", "star"]));
  const sum = all.get("circle") + all.get("star");
  for (const { word, probability } of guesses) assert.ok(Math.abs(probability - all.get(word) / sum) < 1e-12);
  throws(OptionError, /^the model does not know the word "houses"; the nearest that it knows is "house"$/, TRIANGLE, {
    words: ["star", "houses"],
  });
  throws(OptionError, /^words has "Star" twice$/, TRIANGLE, { words: ["star", "Star"] });
  throws(OptionError, /does not know the word 5$/, TRIANGLE, { words: [5] });
  throws(OptionError, /words should be a list of words, got "star"/, TRIANGLE, { words: "star" });
  throws(OptionError, /words is an empty list/, TRIANGLE, { words: [] });
});

test("an option that there is not is refused", () => {
  const others = [
    [() => recognizer.predict(TRIANGLE, { Top: 1 }), 'there is no option "Top"; expected top, words, simplified, layout'],
    [() => recognizer.predict(TRIANGLE, 3), "options should be an object, got 3"],
    [() => recognizer.predict(TRIANGLE, null), "options should be an object, got null"],
    [() => recognizer.embed(TRIANGLE, { top: 1 }), 'there is no option "top"; expected simplified, layout'],
    [() => recognizer.teach("hat", [], { simple: true }), 'there is no option "simple"; expected simplified, layout'],
    [() => simplify(TRIANGLE, { epsilon: 1 }), 'there is no option "epsilon"; expected layout'],
  ];
  for (const [call, message] of others) assert.throws(call, { name: "OptionError", message });
});

test("an option of `load` that there is not is refused", async () => {
  await assert.rejects(load("m", null), { name: "OptionError", message: "options should be an object, got null" });
  await assert.rejects(load("m", { progress() {} }), { name: "OptionError", message: /"progress"; expected onProgress, signal$/ });
});

test("both layouts are understood, and times are ignored", () => {
  const expected = recognizer.predict(TRIANGLE);
  assert.deepEqual(recognizer.predict(COLUMNS), expected);
  assert.deepEqual(recognizer.predict([[...COLUMNS[0], [0, 1, 2, 3]]]), expected);
  assert.deepEqual(recognizer.predict([TRIANGLE[0].map((point, t) => [...point, t])]), expected);
  assert.deepEqual(recognizer.predict([COLUMNS[0].map((row) => Float64Array.from(row))]), expected);
  assert.notDeepEqual(simplify([[[0, 9], [5, 7]]], { layout: "columns" }), simplify([[[0, 9], [5, 7]]]));
  assert.deepEqual(simplify(TRIANGLE)[0][1], simplify(COLUMNS)[0].map((row) => row[1]));
  throws(OptionError, /layout should be "auto", "points" or "columns", got "rows"/, TRIANGLE, { layout: "rows" });
  throws(StrokesError, /^strokes\[1\] has 4 rows of 2 numbers; expected columns .*, since strokes\[0\] is written so$/, [
    COLUMNS[0], TRIANGLE[0],
  ]);
});

test("strokes that are said to be simplified are taken as they are", () => {
  const simplified = simplify(TRIANGLE);
  assert.deepEqual(recognizer.predict(simplified, { simplified: true }), recognizer.predict(TRIANGLE));
  for (const [x, y] of [[256, 0], [-1, 0], [0, 2.5], [0, 256]]) {
    throws(StrokesError, new RegExp(`^strokes\\[0\\]\\[1\\] is at \\(${x}, ${y}\\); expected integers from 0 to 255`), [[[0, 0], [x, y]]], {
      simplified: true,
    });
  }
});

test("what is no drawing is refused in one line", () => {
  const { MAX_VALUE } = Number;
  throws(StrokesError, /^the drawing has no stroke; expected at least one$/, []);
  throws(StrokesError, /^the drawing is undefined; expected a list of strokes$/, undefined);
  throws(StrokesError, /^strokes\[1\] has no point/, [TRIANGLE[0], []]);
  throws(StrokesError, /^strokes\[0\] has no point/, [[[], []]]);
  throws(StrokesError, /^strokes\[0\] is 5; expected points/, [5]);
  throws(StrokesError, /^strokes\[0\]\[0\] is 10; .* one stroke alone has to be put into a list$/, [[10, 20]]);
  throws(StrokesError, /^strokes\[0\]\[1\] has 1 number and strokes\[0\]\[0\] has 2/, [[[1, 2], [1]]]);
  throws(StrokesError, /^strokes\[0\]\[2\] is at \(NaN, 3\); expected finite numbers$/, [[[1, 2], [2, 3], [NaN, 3], [4, 5]]]);
  throws(StrokesError, /^strokes\[0\]\[0\] is at \("1", 2\)/, [[["1", 2], [2, 3], [3, 4], [4, 5]]]);
  throws(StrokesError, /^the drawing has 200001 points; expected at most 200000$/, [Array(200_001).fill([0, 1])]);
  const turns = Array.from({ length: 150_000 }, (_, i) => [Math.floor(i / 2) % 2, Math.floor((i + 1) / 2) % 2]);
  throws(StrokesError, /winds so much/, [turns]);
  assert.equal(recognizer.predict([[[MAX_VALUE, -MAX_VALUE], [-MAX_VALUE, 0], [0, 5], [3, 3]]]).guesses.length, 3);
});

test("a file that is not whole, not ours or too new is refused in one line", async () => {
  await refused(bytes.subarray(0, -1), new RegExp(`^the model file is cut off: it has ${bytes.length - 1} of ${bytes.length} bytes$`));
  await refused(bytes.subarray(0, 20), /^this is no \.quickstroke file/);
  const page = new TextEncoder().encode("<!doctype html>\n<title>404</title>");
  await refused(page, /^this is no \.quickstroke file, it begins with "<!doctype html>\\n<title>4"; expected one of/);
  await refused(changed((copy) => (copy[copy.length - 100] ^= 1), { sealed: false }), /^the model file is damaged: its hash/);
  await refused(changed((_, view) => view.setUint32(8, 3, true)), /^the model file has version 3, this program reads version 2/);
  await refused(Buffer.concat([bytes, bytes]), /^the model file is damaged/);
  await refused(changed((_, view) => view.setUint32(12, 1e6, true)), /^the model file is damaged: /);
  await refused(changed((copy) => replaced(copy, '"hidden_size":', '"hidden_sizf":')), /describes a model that this program has not/);
  await refused(changed((copy) => replaced(copy, '"linear.bias"', '"linear.bibs"')), /linear\.bias is missing, expected \(3\)/);
  await refused("no.quickstroke", /^no\.quickstroke: cannot be read: ENOENT/);
  await refused(5, /^a model is given by its address or its bytes, got 5$/);
});

test("the hash is SHA-256, whatever the length and wherever in a buffer", () => {
  const all = Uint8Array.from({ length: 200 }, (_, i) => (i * 151) ^ (i >> 2));
  for (let n = 0; n < 195; n++) {
    const part = all.subarray(3, 3 + n);
    assert.equal(Buffer.from(sha256(part)).toString("hex"), createHash("sha256").update(part).digest("hex"), n);
  }
});

/** The file with another card, and perhaps with weights of its own before the others. */
function withCard(change, weights = new Uint8Array()) {
  const before = new DataView(bytes.buffer, bytes.byteOffset).getUint32(12, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(24, 24 + before)));
  change(header.card, header);
  const text = new TextEncoder().encode(JSON.stringify(header));
  const file = Buffer.concat([bytes.subarray(0, 24), text, weights, bytes.subarray(24 + before)]);
  file.writeUint32LE(text.length, 12);
  file.writeUint32LE(file.length, 16);
  file.set(sha256(file.subarray(0, -32)), file.length - 32);
  return file;
}

test("a card that no model can have is refused before it is computed with", async () => {
  const rule = { intercept: 1, slope: 2, entropy: 0.5, floor: -1, words: [1, 2, 3] };
  assert.ok((await load(withCard((card) => (card.unknown = rule)))).predict(TRIANGLE).unknown > 0);
  for (const wrong of [{ slope: 0 }, { slope: -1 }, { entropy: -0.1 }, { floor: null }, { words: [1, 2] }, { words: 5 }, { intercept: "1" }]) {
    await refused(withCard((card) => (card.unknown = { ...rule, ...wrong })), /describes a model that this program has not/);
  }
  for (const change of [
    (card) => (card.name = 5),
    (card) => (card.classes[1] = ""),
    (card) => card.classes.push("tent"),
    ({ config }) => (config.n_layers = 65),
    ({ config }) => (config.hidden_size = 1.5),
    ({ config }) => (config.image = -1),
    ({ config }) => (config.conv1 = [config.conv1[0]]),
    ({ preprocessing }) => (preprocessing.max_padding += 1),
    ({ preprocessing }) => (preprocessing.name = "delta3"),
    ({ preprocessing }) => (preprocessing.name = "toString"),
  ]) {
    await refused(withCard(change), /describes a model that this program has not/);
  }
  await refused(withCard(({ config }) => (config.hidden_size += 1)), /does not fit its card: \S+ is \(.+\), expected \(/);
  await refused(changed((_, view) => view.setUint32(8, 0, true)), /^the model file has version 0, this program reads version 2/);
});

test("numbers of 16 bits are those of IEEE 754", async () => {
  const numbers = [[0, 0], [0x8000, -0], [1, 2 ** -24], [0x83ff, -(2 ** -14) * (1023 / 1024)], [0x0400, 2 ** -14], [0xbc01, -1 - 2 ** -10],
    [0x7bff, 65_504], [0xfc00, -Infinity], [0x7e00, NaN]];
  const tensors = { some: { dtype: "float16", shape: [numbers.length], at: 0 } };
  const file = withCard((_, header) => (header.tensors = tensors), new Uint8Array(Uint16Array.from(numbers, ([bits]) => bits).buffer));
  assert.deepEqual([...(await readModel(file)).weights.get("some").values], numbers.map(([, value]) => value));
  tensors.some.dtype = "float64";
  await assert.rejects(readModel(withCard((_, header) => (header.tensors = tensors))), /weights of type "float64"; expected int8/);
});

test("statistics of taught words that are damaged are refused; what is most improbable counts as e^-69", async () => {
  for (const change of [({ projection }) => (projection.scales[0] = null), ({ means }) => (means.int4 = means.int4.slice(0, 4)),
    ({ projection, means }) => Object.assign(means, { int4: projection.int4.slice(0, 4), scales: projection.scales.slice(1) }),
    ({ projection }) => (projection.scales = [])]) {
    await refused(withCard(({ discriminant }) => change(discriminant)), /^the discriminant of the model file is damaged: /);
  }
  const discriminant = Discriminant.ofCard(recognizer.card);
  const at = (logit) => [...discriminant.project(Float32Array.of(0, logit, -8))];
  assert.deepEqual([at(-80), at(-Infinity)], [at(-75), at(-75)]);
  assert.notDeepEqual(at(-66), at(-68));
});

test("only answers about the newest drawing are told, and none once it is over", async () => {
  const [asked, told] = [[], []];
  const pad = { strokes: TRIANGLE };
  const predict = (strokes, options) =>
    new Promise((resolve, reject) => asked.push({ strokes, options, resolve, reject: () => reject(new Error("no")) }));
  const listeners = { onGuess: (answer) => told.push(answer), onError: ({ message }) => told.push(message) };
  const newest = guessing(pad, { predict }, { top: 2, words: ["star"] }, listeners);
  const soon = async () => {
    for (let i = 0; i < 9; i++) await new Promise((resolve) => setTimeout(resolve)); // after those that were set before
  };
  const draw = async (strokes) => {
    pad.strokes = strokes;
    for (let i = 0; i < 3; i++) newest.ask(); // events that come together are one question
    await soon();
  };
  await draw(TRIANGLE);
  assert.deepEqual(asked.map(({ strokes, options }) => [strokes, options]), [[TRIANGLE, { top: 2, words: ["star"], layout: "points" }]]);
  await draw(COLUMNS);
  assert.deepEqual([asked.length, newest.isPending], [1, true]);
  asked[0].resolve("old");
  await soon();
  assert.deepEqual([asked.length, told], [2, []]);
  asked[1].resolve("new");
  await soon();
  assert.deepEqual([asked.length, told.splice(0), newest.isPending], [2, ["new"], false]);
  await draw(TRIANGLE);
  asked[2].reject();
  await soon();
  await draw([]); // nothing to be asked
  assert.deepEqual(told.splice(0), ["no", { guesses: [], unknown: null }]);
  await draw(TRIANGLE);
  newest.stop();
  asked[3].resolve("late");
  await soon();
  assert.deepEqual([asked.length, told], [4, []]);
});

test("how much has come is told, and of how much where the server says so", async (context) => {
  for (const [headers, total] of [
    [{ "content-length": `${bytes.length}` }, bytes.length],
    [{ "content-length": "9", "content-encoding": "gzip" }, null], // the length is that of fewer bytes
    [{}, null],
  ]) {
    const told = [];
    context.mock.method(globalThis, "fetch", async () => new Response(bytes, { headers }));
    const { name } = await load("https://any.example/m.quickstroke", { onProgress: (...each) => told.push(each) });
    assert.deepEqual([name, told.at(-1)], [recognizer.name, [bytes.length, total]]);
  }
});

function replaced(copy, from, to) {
  const at = Buffer.from(copy.buffer).indexOf(from);
  assert.ok(at > 0 && from.length === to.length);
  copy.set(new TextEncoder().encode(to), at);
}

test("embeddings are directions, and words are taught by a few drawings", async () => {
  const one = await load(bytes);
  const squares = [0, 3, 6, 9].map((d) => [[[0, 0], [90 + d, d], [88, 95 - d], [d, 90], [0, 0]]]);
  const embedding = one.embed(squares[0]);
  assert.ok(Math.abs(embedding.reduce((sum, value) => sum + value * value, 0) - 1) < 1e-6);
  const before = one.predict(TRIANGLE, { top: 9 });
  one.teach("my_square", squares);
  assert.deepEqual(one.taught, { "my square": 4 });
  assert.deepEqual(one.words, ["circle", "house", "star", "my square"]);
  const { guesses, unknown } = one.predict(squares[0], { top: 9 });
  const own = guesses.find(({ word }) => word === "my square").probability;
  assert.equal(guesses.length, 4);
  const alone = await load(bytes);
  assert.ok(Math.abs(unknown - alone.predict(squares[0]).unknown * (1 - own)) < 1e-12);
  assert.equal(one.predict(squares[0], { words: ["my_square"] }).guesses[0].probability, 1);
  const text = one.save();
  alone.restore(text);
  assert.deepEqual(alone.predict(squares[1]), one.predict(squares[1]));
  const refuses = (call, message) => assert.throws(call, (error) => error instanceof OptionError && message.test(error.message));
  refuses(() => one.restore(text), /the word "my square" is taught already; forget it first/);
  refuses(() => one.teach("House", squares), /knows the word "House" already/);
  refuses(() => one.teach("robot", squares.slice(2)), /2 drawings of "robot" were given; a word is taught by 3 or more/);
  refuses(() => one.teach("ro\u202ebot", squares), /word has U\+202E, which cannot be printed/);
  refuses(() => one.teach("a\u200db", squares), /U\+200D/);
  one.teach("می\u200cخواهم", squares);
  one.forget("می\u200cخواهم");
  refuses(() => one.teach("robot", 5), /^drawings should be a list of drawings, got 5$/);
  refuses(() => one.forget("robot"), /"robot" was not taught/);
  one.forget("My_Square");
  assert.deepEqual(one.predict(TRIANGLE, { top: 9 }), before);
  const content = JSON.parse(text);
  for (const [changes, message] of [
    [{ version: 2 }, /version 2; this program reads version 1/],
    [{ version: 0 }, /version 0; this program reads version 1/],
    [{ words: { robot: Array(3).fill([[[0, 256], [0, 1]]]) } }, /damaged: strokes\[0\]\[1\] is at \(256, 1\); expected integers/],
    [{ model_sha256: "x" }, /another model/],
    [{ words: { robot: [1, 2, 3] } }, /damaged/],
    ...[undefined, null, 5, []].map((words) => [{ words }, /damaged/]),
    [{ words: { a: content.words["my square"], star: content.words["my square"] } }, /"star" already/],
  ]) {
    refuses(() => one.restore(JSON.stringify({ ...content, ...changes })), message);
    assert.deepEqual(one.taught, {});
  }
  refuses(() => one.restore(text.slice(0, -9)), /cut off/);
});
