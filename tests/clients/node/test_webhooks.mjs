// Webhooks, judged by the validator of replicate for Node, which compares signatures as they are written.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import test from "node:test";
import Replicate, { validateWebhook } from "replicate";

const replicate = new Replicate({ baseUrl: process.env.REPLICATE_BASE_URL });

test("a webhook is signed so that the validator accepts it", async () => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const called = once(server, "request");
  const prediction = await replicate.predictions.create({
    model: "demo/echo",
    input: { text: "signed, with an ümlaut" },
    webhook: `http://127.0.0.1:${server.address().port}/`,
    webhook_events_filter: ["completed"],
  });
  const [request, response] = await called;
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  response.end();
  server.close();

  const body = Buffer.concat(chunks).toString();
  const { key } = await replicate.webhooks.default.secret.get();
  assert.equal(await validateWebhook({ headers: request.headers, body }, key), true);
  assert.equal(await validateWebhook({ headers: request.headers, body: `${body} ` }, key), false);
  assert.equal(JSON.parse(body).id, prediction.id);
  assert.equal(JSON.parse(body).status, "succeeded");
});
