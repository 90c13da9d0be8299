// Replicate's client for Node at work on your own machine.
//
// npm install replicate@1.4.0
// export REPLICATE_API_TOKEN=…                       # `make run` prints it
// export REPLICATE_BASE_URL=http://127.0.0.1:8000/v1 # with /v1, for this client
// node examples/replicate_node.mjs

import Replicate from "replicate";

const replicate = new Replicate({ baseUrl: process.env.REPLICATE_BASE_URL });
const alice = { prompt: "Alice was beginning to get", max_new_tokens: 48, temperature: 0 };
const say = (what, result) => console.log(what.padEnd(10), result);

say("run", (await replicate.run("demo/recital", { input: alice })).join(""));

const chunks = [];
for await (const { event, data } of replicate.stream("demo/recital", { input: alice })) {
  if (event === "output") chunks.push(data);
}
say("stream", chunks.join("|"));

const file = await replicate.files.create(new File(["Down the Rabbit-Hole"], "chapter.txt"));
say("file", `${file.name}, ${file.size} bytes`);
await replicate.files.delete(file.id);

const created = await replicate.predictions.create({ model: "demo/echo", input: { text: "no hurry", sleep: 0.5 } });
const { status, metrics } = await replicate.wait(created, { interval: 100 });
say("wait", `${status} after ${metrics.total_time.toFixed(1)} s`);

const endless = { text: "", sleep: 60, steps: 600 };
const { id } = await replicate.predictions.create({ model: "demo/echo", input: endless });
say("cancel", (await replicate.predictions.cancel(id)).status);

try {
  await replicate.run("demo/echo", { input: { text: "", fail: "It was too dark to see." } });
} catch (error) {
  say("error", error.message);
}

const { results } = await replicate.predictions.list();
say("list", `${results.length} predictions on the first page`);
