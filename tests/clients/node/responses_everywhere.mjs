// The official OpenAI SDK for Node on the Responses API, on the routes of suite.mjs.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import {
  API_KEY, BASE_URL, CITIES, ERRORS, PNG, TEXT, closedUpstream, run, sawImage, shown, thought,
  upstream,
} from "./suite.mjs";

const client = new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: API_KEY, maxRetries: 0 });
const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const tools = [{ type: "function", name: "weather", strict: false, parameters }];

async function toolLoop(model, send) {
  const input = [{ role: "user", content: "weather in Paris and Zürich" }];
  const first = await send({ model, input, tools, store: false });
  const calls = first.output.filter((item) => item.type === "function_call");
  assert.deepEqual(calls.map((call) => JSON.parse(call.arguments).city), CITIES);
  assert.equal(new Set(calls.map((call) => call.call_id)).size, 2);
  // What the helper parsed stays behind.
  input.push(...first.output.map(({ parsed_arguments, ...item }) => item));
  for (const call of calls) {
    const output = `21° in ${JSON.parse(call.arguments).city}`;
    input.push({ type: "function_call_output", call_id: call.call_id, output });
  }
  const second = await send({ model, input, tools, store: false });
  const text = second.output_text;
  for (const city of CITIES) assert.ok(text.includes(`21° in ${city}`), text);
}

run({
  async plain(route, model) {
    const response = await client.responses.create({ model: model("talk"), input: "hello" });
    assert.equal(response.output_text, TEXT);
    assert.equal(response.status, "completed");
    assert.equal(response.usage.input_tokens, 19);
  },

  async stream(route, model) {
    const asked = { model: model("bytes"), input: "hello", stream: true };
    const kinds = [];
    let text = "";
    for await (const event of await client.responses.create(asked)) {
      kinds.push(event.type);
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    assert.equal(text, TEXT);
    assert.equal(kinds[0], "response.created");
    assert.equal(kinds.at(-1), "response.completed");
  },

  async "stream helper"(route, model) {
    const stream = client.responses.stream({ model: model("talk"), input: "hello" });
    assert.equal((await stream.finalResponse()).output_text, TEXT);
  },

  tools: (route, model) => toolLoop(model("talk"), (asked) => client.responses.create(asked)),

  "tools, streamed": (route, model) =>
    toolLoop(model("talk"), (asked) => client.responses.stream(asked).finalResponse()),

  async thinking(route, model) {
    const response = await client.responses.create({
      model: model("thinks"), input: "hello", reasoning: { effort: "high", summary: "auto" },
    });
    const [item] = response.output;
    assert.equal(item.type, "reasoning");
    const parts = [...item.summary, ...(item.content ?? [])].map((part) => part.text);
    const joined = parts.join(route === "responses_passed" ? "\n\n" : "");
    assert.equal(joined.replaceAll("\n\n", ""), thought(route).replaceAll("\n\n", ""));
  },

  async image(route, model) {
    const content = [
      { type: "input_text", text: "what is this?" },
      { type: "input_image", image_url: `data:image/png;base64,${PNG}`, detail: "auto" },
    ];
    const input = [{ role: "user", content }];
    const response = await client.responses.create({ model: model("talk"), input });
    sawImage(route, response.output_text);
  },

  async "a parsed answer"(route, model) {
    if (["messages", "gemini"].includes(upstream(route))) return; // whose stubs make no JSON
    const person = z.object({ name: z.string(), age: z.number() });
    const response = await client.responses.parse({
      model: model("talk"), input: "who?", text: { format: zodTextFormat(person, "person") },
    });
    assert.deepEqual(response.output_parsed, { name: "Žofia 王", age: 34 });
  },

  async errors(route, model) {
    for (const status of ERRORS) {
      for (const stream of [false, true]) {
        const asked = { model: model(`error-${status}`), input: "hello", stream };
        const error = await client.responses.create(asked).then(() => null, (error) => error);
        assert.ok(error instanceof OpenAI.APIError, `${status}: ${error}`);
        assert.equal(error.status, shown(status));
        assert.ok(error.requestID);
        if (status !== 401) assert.match(error.message, new RegExp(`his is a ${status}`));
        if (status === 429) assert.equal(error.headers.get("retry-after"), "40");
      }
    }
  },

  async "a stream that fails"(route, model) {
    for (const name of ["breaks", "cut"]) {
      const asked = { model: model(name), input: "hello", stream: true };
      const kinds = [];
      for await (const event of await client.responses.create(asked)) kinds.push(event.type);
      assert.equal(kinds.at(-1), "response.failed");
    }
  },

  async "a stream that is left"(route, model) {
    const asked = { model: model("forever"), input: "hello", stream: true };
    for await (const event of await client.responses.create(asked)) {
      if (event.type === "response.output_text.delta") break;
    }
    await closedUpstream();
  },
});
