// Files, models, deployments and the small things by replicate for Node.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import test from "node:test";
import Replicate from "replicate";

const baseUrl = process.env.REPLICATE_BASE_URL;
const replicate = new Replicate({ baseUrl });

test("a file is created, found, listed and deleted", async () => {
  // The client sends the metadata as a file.
  const file = await replicate.files.create(new File(["some bytes"], "a.txt", { type: "text/plain" }), {
    colour: "blue",
  });
  assert.equal(file.name, "a.txt");
  assert.equal(file.content_type, "text/plain");
  assert.equal(file.checksums.sha256, createHash("sha256").update("some bytes").digest("hex"));
  assert.deepEqual(file.metadata, { colour: "blue" });
  assert.equal((await replicate.files.get(file.id)).id, file.id);
  const { results } = await replicate.files.list();
  assert.ok(results.some(({ id }) => id === file.id));
  assert.equal(await replicate.files.delete(file.id), true);
  await assert.rejects(replicate.files.get(file.id), (error) => error.response.status === 404);
});

test("a buffer is an input", async () => {
  const image = await readFile(process.env.PICTURE);
  const [likeliest] = await replicate.run("demo/digits", { input: { image } });
  assert.equal(likeliest.label, "0");
});

test("an output file as a data: URI is a FileOutput", async () => {
  const fetchData = (url, init) =>
    fetch(url, { ...init, headers: { ...init?.headers, "X-Augury-Output": "data" } });
  const client = new Replicate({ baseUrl, fetch: fetchData });
  const [output] = await client.run("demo/echo", { input: { text: "a file", file: true } });
  assert.equal(await (await output.blob()).text(), "a file");
});

test("an output file is fetched without a token", async () => {
  const [url] = await replicate.run("demo/echo", { input: { text: "a file", file: true } });
  assert.equal(await (await fetch(url)).text(), "a file");
});

test("models are found, listed and searched for", async () => {
  const { latest_version: version } = await replicate.models.get("demo", "recital");
  assert.equal(version.openapi_schema.components.schemas.Output["x-cog-array-display"], "concatenate");
  const names = [];
  for await (const page of replicate.paginate(replicate.models.list)) names.push(...page.map(({ name }) => name));
  assert.ok(names.includes("recital"));
  const found = await replicate.models.search("recital");
  assert.ok(found.results.some(({ name }) => name === "recital"));
  const versions = await replicate.models.versions.list("demo", "recital");
  assert.equal(versions.results[0].id, version.id);
  assert.equal((await replicate.models.versions.get("demo", "recital", version.id)).id, version.id);
});

test("a deployment lives its life", async () => {
  const { username: owner } = await replicate.accounts.current();
  const [{ sku: hardware }] = await replicate.hardware.list();
  const { latest_version: version } = await replicate.models.get("demo", "echo");
  const name = "parrot-js";
  await replicate.deployments.create({
    name,
    model: "demo/echo",
    version: version.id,
    hardware,
    min_instances: 0,
    max_instances: 1,
  });
  const created = await replicate.deployments.predictions.create(owner, name, { input: { text: "hello" } });
  assert.equal((await replicate.wait(created, { interval: 50 })).output.join(""), "hello");
  assert.equal((await replicate.deployments.update(owner, name, { max_instances: 2 })).current_release.number, 2);
  assert.equal((await replicate.deployments.get(owner, name)).name, name);
  assert.ok((await replicate.deployments.list()).results.length > 0);
  assert.equal(await replicate.deployments.delete(owner, name), true);
});

test("collections are a page", async () => {
  assert.ok(Array.isArray((await replicate.collections.list()).results));
});
