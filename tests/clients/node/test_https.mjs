// Files by replicate for Node where the server is behind TLS.

import assert from "node:assert/strict";
import test from "node:test";
import Replicate from "replicate";

const replicate = new Replicate({ baseUrl: process.env.REPLICATE_BASE_URL });
const input = { text: "a file", file: true };

test("an output file is a FileOutput, read as a blob and chunk by chunk", async () => {
  // The client sends no token along.
  const [output] = await replicate.run("demo/echo", { input });
  assert.equal(output.url().protocol, "https:");
  assert.equal(await (await output.blob()).text(), "a file");

  const chunks = [];
  const [again] = await replicate.run("demo/echo", { input });
  for await (const chunk of again) chunks.push(chunk);
  assert.equal(Buffer.concat(chunks).toString(), "a file");
});
