// Predictions by replicate for Node, from their creation to their end.

import assert from "node:assert/strict";
import test from "node:test";
import Replicate from "replicate";

const baseUrl = process.env.REPLICATE_BASE_URL;
const replicate = new Replicate({ baseUrl });
const alice = { prompt: "Alice was", max_new_tokens: 32, temperature: 0 };
const forever = { text: "", sleep: 60, steps: 600 };
const echo = (input, options = {}) => replicate.predictions.create({ model: "demo/echo", input, ...options });

test("run gives the chunks of a text to be joined", async () => {
  const chunks = await replicate.run("demo/recital", { input: alice });
  assert.match(chunks.join(""), /beginning to/);
});

test("run by polling comes to the same, and tells of its progress", async () => {
  const told = [];
  const input = { text: "polled", sleep: 0.3, steps: 3 };
  const output = await replicate.run("demo/echo", { input, wait: { mode: "poll", interval: 50 } }, (prediction) =>
    told.push(prediction.status)
  );
  assert.equal(output.join(""), "polled");
  assert.equal(told[0], "starting");
  assert.equal(told.at(-1), "succeeded");
});

test("run goes on after the time to wait has run out", async () => {
  const input = { text: "late", sleep: 1.3, steps: 13 };
  const output = await replicate.run("demo/echo", { input, wait: { mode: "block", timeout: 1 } });
  assert.equal(output.join(""), "late");
});

test("run by version", async () => {
  const { latest_version: version } = await replicate.models.get("demo", "echo");
  const output = await replicate.run(`demo/echo:${version.id}`, { input: { text: "by version" } });
  assert.equal(output.join(""), "by version");
});

test("run throws the model's own error", async () => {
  const input = { text: "", fail: "too dark to see" };
  await assert.rejects(replicate.run("demo/echo", { input }), /too dark to see/);
});

test("run that is aborted is canceled", async () => {
  const aborting = new AbortController();
  let id;
  const running = replicate.run(
    "demo/echo",
    { input: forever, wait: { mode: "poll", interval: 50 }, signal: aborting.signal },
    (prediction) => (id = prediction.id)
  );
  setTimeout(() => aborting.abort(), 200);
  await running.catch((error) => assert.equal(error.name, "AbortError"));
  await replicate.predictions.cancel(id);
  assert.equal((await replicate.predictions.get(id)).status, "canceled");
});

test("a prediction is created and waited for", async () => {
  const created = await echo({ text: "waited for" });
  assert.equal(created.status, "starting");
  const finished = await replicate.wait(created, { interval: 50 });
  assert.equal(finished.output.join(""), "waited for");
  assert.equal(finished.urls.get, `${baseUrl}/predictions/${created.id}`);
});

test("a prediction that the server waited for is finished", async () => {
  const prediction = await echo({ text: "held" }, { wait: 10 });
  assert.equal(prediction.status, "succeeded");
});

test("cancelling is told in the answer and may be repeated", async () => {
  const { id } = await echo(forever);
  assert.equal((await replicate.predictions.cancel(id)).status, "canceled");
  assert.equal((await replicate.predictions.cancel(id)).status, "canceled");
});

test("waiting for what is canceled ends", async () => {
  const created = await echo(forever);
  const waiting = replicate.wait(created, { interval: 50 });
  await replicate.predictions.cancel(created.id);
  assert.equal((await waiting).status, "canceled");
});

test("pages follow each other by absolute URLs", async () => {
  const created = [];
  for (const text of ["1", "2", "3"]) created.unshift((await echo({ text })).id);
  const listed = [];
  const pairs = () => replicate.request("/predictions?limit=2", {}).then((response) => response.json());
  for await (const page of replicate.paginate(pairs)) {
    listed.push(...page.map((prediction) => prediction.id));
    if (listed.length > 3) break;
  }
  assert.deepEqual(listed.slice(0, 3), created);
  assert.equal(new Set(listed).size, listed.length);
});

test("errors have their request, their response and its detail", async () => {
  await assert.rejects(echo({ text: 5 }), (error) => {
    assert.equal(error.name, "ApiError");
    assert.equal(error.response.status, 422);
    assert.match(error.message, /text/);
    return true;
  });
  await assert.rejects(replicate.predictions.get("nonesuch"), { name: "ApiError" });
  const stranger = new Replicate({ baseUrl, auth: "wrong" });
  await assert.rejects(stranger.predictions.list(), (error) => error.response.status === 401);
});

test("who has used up the month is told so", async () => {
  const stranger = new Replicate({ baseUrl, auth: process.env.STRANGER_TOKEN });
  await assert.rejects(stranger.run("demo/echo", { input: { text: "one more" } }), (error) => {
    assert.equal(error.response.status, 402);
    assert.match(error.message, /Monthly spend limit reached/);
    return true;
  });
});

test("too many requests are refused at once, and the client's repeats do not put off the next", async () => {
  let asked = 0;
  const counting = (url, init) => (asked++, fetch(url, init));
  const client = new Replicate({ baseUrl, fetch: counting });
  const knock = () => client.request("/auth/register", { method: "POST", data: {} });
  const answers = [];
  for (let n = 0; n < 6; n++) await knock().catch((error) => answers.push(error.response));
  const refused = answers.filter(({ status }) => status === 429);
  assert.equal(refused.at(-1), answers.at(-1));
  assert.ok(asked > answers.length);
  const waits = refused.map(({ headers }) => Number(headers.get("retry-after")));
  assert.ok(60 >= waits[0] && waits[0] >= waits.at(-1) && waits.at(-1) >= 1);
});

test("a token that the client sends among the inputs comes back in no answer", async () => {
  // With data-uri, the client of this version sends itself in the place of the input.
  const client = new Replicate({ baseUrl, fileEncodingStrategy: "data-uri" });
  const creating = client.predictions.create({ model: "demo/echo", input: { text: "" } });
  await assert.rejects(creating, (error) => {
    assert.equal(error.response.status, 422);
    assert.ok(!error.message.includes(process.env.REPLICATE_API_TOKEN));
    return true;
  });
});

test("a token in a text is stored in no prediction", async () => {
  const prediction = await echo({ text: `it is ${process.env.REPLICATE_API_TOKEN}` }, { wait: 10 });
  assert.ok(!JSON.stringify(prediction).includes(process.env.REPLICATE_API_TOKEN));
});
