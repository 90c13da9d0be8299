// OpenAI's client for Node: chats, texts, vectors, recordings, images, files and batches, models, errors.

import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { setTimeout } from "node:timers/promises";
import test from "node:test";
import OpenAI, { toFile } from "openai";

const openai = new OpenAI({ maxRetries: 0 });
const question = {
  model: "test/talker",
  messages: [{ role: "user", content: "Alice was beginning to get very" }],
  max_completion_tokens: 8,
  temperature: 0,
};

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

test("a chat answers the same at once and in chunks", async () => {
  const whole = await openai.chat.completions.create(question);
  const [{ message, finish_reason: reason }] = whole.choices;
  assert.match(message.content, /tired/);
  assert.equal(reason, "length");
  assert.equal(whole.usage.completion_tokens, 8);
  const chunks = await all(
    await openai.chat.completions.create({ ...question, stream: true, stream_options: { include_usage: true } }),
  );
  const told = chunks.slice(0, -1).map(({ choices: [{ delta }] }) => delta.content ?? "");
  assert.equal(told.join(""), message.content);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.deepEqual(chunks.at(-1).usage, whole.usage);
});

test("the client's own runner puts a stream together", async () => {
  const final = await openai.chat.completions.stream(question).finalChatCompletion();
  assert.match(final.choices[0].message.content, /tired/);
});

test("vectors come in base64, which the client asks for, as they do in numbers", async () => {
  const asked = { model: "demo/minilm", input: ["a cat", "a kitten"] };
  const { data: packed } = await openai.embeddings.create(asked);
  const { data: plain, usage } = await openai.embeddings.create({ ...asked, encoding_format: "float" });
  assert.equal(packed[1].embedding.length, 384);
  for (const [item, { embedding }] of packed.entries()) {
    embedding.forEach((number, place) => assert.ok(Math.abs(number - plain[item].embedding[place]) < 1e-6));
  }
  assert.ok(usage.total_tokens >= 6);
});

test("a recording is written down at once, with times, and in pieces", async () => {
  const asked = () => ({ model: "test/whisper", file: createReadStream(process.env.RECORDING), language: "en" });
  const verbose = await openai.audio.transcriptions.create({
    ...asked(),
    response_format: "verbose_json",
    timestamp_granularities: ["word", "segment"],
  });
  assert.ok(verbose.segments.length && verbose.words.length);
  const lines = await openai.audio.transcriptions.create({ ...asked(), response_format: "vtt" });
  assert.ok(lines.startsWith("WEBVTT\n\n"));
  const events = await all(await openai.audio.transcriptions.create({ ...asked(), stream: true }));
  const done = events.pop();
  assert.deepEqual([done.type, done.text], ["transcript.text.done", verbose.text]);
  assert.equal(events.map(({ delta }) => delta).join(""), verbose.text);
});

test("images are drawn, as bytes and by URLs that need no token", async () => {
  const asked = { model: "test/painter", prompt: "a rabbit", size: "64x72", seed: 1 };
  const inline = await openai.images.generate({ ...asked, n: 2, response_format: "b64_json" });
  const [first, second] = inline.data.map((image) => Buffer.from(image.b64_json, "base64"));
  assert.ok(first.subarray(1, 4).equals(Buffer.from("PNG")) && !first.equals(second));
  const linked = await openai.images.generate({ ...asked, response_format: "url" });
  assert.ok(Buffer.from(await (await fetch(linked.data[0].url)).arrayBuffer()).equals(first));
});

test("a model has the name that it is listed and asked for by", async () => {
  const names = (await all(openai.models.list())).map(({ id }) => id);
  assert.ok(names.includes("demo/minilm") && names.includes("test/talker"));
  assert.equal((await openai.models.retrieve("demo/minilm")).id, "demo/minilm");
});

test("a batch of requests is answered in a file", async () => {
  const lines = ["one", "two"].map((id) =>
    JSON.stringify({ custom_id: id, method: "POST", url: "/v1/chat/completions", body: question }),
  );
  const content = await toFile(Buffer.from(lines.join("\n")), "requests.jsonl");
  const file = await openai.files.create({ file: content, purpose: "batch" });
  let batch = await openai.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
  });
  while (!batch.completed_at && !batch.failed_at) {
    await setTimeout(50);
    batch = await openai.batches.retrieve(batch.id);
  }
  assert.deepEqual(batch.request_counts, { total: 2, completed: 2, failed: 0 });
  const written = await (await openai.files.content(batch.output_file_id)).text();
  const answers = written.trim().split("\n").map(JSON.parse);
  assert.deepEqual(answers.map(({ custom_id: id }) => id).sort(), ["one", "two"]);
  assert.match(answers[0].response.body.choices[0].message.content, /tired/);
});

test("errors have the client's own classes, and what it reads of them", async () => {
  const wrong = { ...question, tools: [{ type: "function", function: { name: "f" } }] };
  await assert.rejects(openai.chat.completions.create(wrong), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError && error.requestID);
    assert.deepEqual([error.param, error.type], ["tools", "invalid_request_error"]);
    return true;
  });
  await assert.rejects(openai.chat.completions.create({ ...question, model: "test/nobody" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    return true;
  });
  const nobody = new OpenAI({ apiKey: "nobody", maxRetries: 0 });
  await assert.rejects(nobody.chat.completions.create(question), OpenAI.AuthenticationError);
  const stranger = new OpenAI({ apiKey: process.env.STRANGER_TOKEN });
  await assert.rejects(stranger.chat.completions.create(question), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.code, "insufficient_quota");
    return true;
  });
});

test("who stops reading a stream cancels it", async () => {
  const stream = await openai.chat.completions.create({ ...question, max_completion_tokens: 1000, stream: true });
  let id;
  for await (const chunk of stream) {
    id = chunk.id.replace("chatcmpl-", "");
    break;
  }
  const { status } = await openai.get(`/predictions/${id}`);
  let seen = status;
  while (seen === "starting" || seen === "processing") {
    await setTimeout(20);
    seen = (await openai.get(`/predictions/${id}`)).status;
  }
  assert.equal(seen, "canceled");
});
