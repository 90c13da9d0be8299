// Streams by replicate for Node, which sends no token to them.

import assert from "node:assert/strict";
import test from "node:test";
import Replicate from "replicate";

const replicate = new Replicate({ baseUrl: process.env.REPLICATE_BASE_URL });
const alice = { prompt: "Alice was", max_new_tokens: 32, temperature: 0 };

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

test("stream yields the text in chunks and says when it is done", async () => {
  const events = await all(replicate.stream("demo/recital", { input: alice }));
  assert.equal(events.at(-1).event, "done");
  assert.ok(events.filter(({ event }) => event === "output").length > 1);
  assert.match(events.join(""), /beginning to/);
  assert.ok(events.every(({ id }) => id));
});

test("chunks of text are strings, not files", async () => {
  const [first] = await all(replicate.stream("demo/echo", { input: { text: "a string" } }));
  assert.equal(typeof first.data, "string");
});

test("lines of a text survive the stream", async () => {
  const text = "first\nsecond\n\nfourth\n";
  const events = await all(replicate.stream("demo/echo", { input: { text } }));
  assert.equal(events.join(""), text);
});

test("comments come while nothing is said, and are no events", async () => {
  const bodies = [];
  const listening = async (...request) => {
    const response = await fetch(...request);
    bodies.push(response.clone().text());
    return response;
  };
  const client = new Replicate({ baseUrl: process.env.REPLICATE_BASE_URL, fetch: listening });
  const events = await all(client.stream("demo/echo", { input: { text: "at last", sleep: 2.5 } }));
  assert.deepEqual(events.map(({ event }) => event), ["output", "done"]);
  const [silence] = (await bodies.at(-1)).split("at last");
  assert.ok(silence.split(": keep-alive").length > 2);
});

test("a failure is thrown", async () => {
  const input = { text: "", fail: "too dark to see" };
  await assert.rejects(all(replicate.stream("demo/echo", { input })), /too dark to see/);
});
