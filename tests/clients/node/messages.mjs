// The official Anthropic SDK, in Node and in a browser.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import {
  API_KEY, BASE_URL, CITIES, ERRORS, PNG, TEXT, closedUpstream, run, sawImage, shown, thought,
} from "./suite.mjs";

const client = new Anthropic({
  baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0, dangerouslyAllowBrowser: true,
});
const ask = (content) => ({ max_tokens: 2000, messages: [{ role: "user", content }] });
const textOf = (message) =>
  message.content.filter((block) => block.type === "text").map((block) => block.text).join("");
const tools = [
  {
    name: "weather",
    description: "The weather in a city",
    input_schema: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
    },
  },
];

async function toolLoop(model, send) {
  const asked = { model, tools, ...ask("weather in Paris and Zürich") };
  const first = await send(asked);
  const calls = first.content.filter((block) => block.type === "tool_use");
  assert.equal(first.stop_reason, "tool_use");
  assert.deepEqual(calls.map((call) => call.input.city), CITIES);
  assert.equal(new Set(calls.map((call) => call.id)).size, 2);
  const results = calls.map((call) => ({
    type: "tool_result",
    tool_use_id: call.id,
    content: `21° in ${call.input.city}`,
  }));
  asked.messages.push(
    { role: "assistant", content: first.content },
    { role: "user", content: results },
  );
  // The messages stub would call again; that the results arrived is what its text says.
  const second = await send(asked);
  for (const city of CITIES) assert.ok(textOf(second).includes(`21° in ${city}`), textOf(second));
}

await run({
  async plain(route, model) {
    const message = await client.messages.create({ model: model("talk"), ...ask("hello") });
    assert.equal(textOf(message), TEXT);
    assert.equal(message.stop_reason, "end_turn");
    assert.ok(message.usage.output_tokens > 0);
  },

  async stream(route, model) {
    const stream = await client.messages.create({
      model: model("bytes"), stream: true, ...ask("hello"),
    });
    const kinds = [];
    let text = "";
    for await (const event of stream) {
      kinds.push(event.type);
      if (event.type === "content_block_delta") text += event.delta.text ?? "";
    }
    assert.equal(text, TEXT);
    assert.equal(kinds[0], "message_start");
    assert.equal(kinds.at(-1), "message_stop");
  },

  async "stream helper"(route, model) {
    const stream = client.messages.stream({ model: model("talk"), ...ask("hello") });
    let text = "";
    stream.on("text", (piece) => (text += piece));
    const message = await stream.finalMessage();
    assert.equal(text, TEXT);
    assert.equal(textOf(message), TEXT);
    const { input_tokens, cache_read_input_tokens, cache_creation_input_tokens } = message.usage;
    const counts = [input_tokens, cache_read_input_tokens, cache_creation_input_tokens];
    assert.equal(counts.reduce((sum, count) => sum + (count ?? 0), 0), 19);
  },

  tools: (route, model) => toolLoop(model("talk"), (asked) => client.messages.create(asked)),

  "tools, streamed": (route, model) =>
    toolLoop(model("talk"), (asked) => client.messages.stream(asked).finalMessage()),

  async thinking(route, model) {
    const stream = client.messages.stream({
      model: model("thinks"), thinking: { type: "enabled", budget_tokens: 1024 }, ...ask("hello"),
    });
    const [block] = (await stream.finalMessage()).content;
    if (route === "chat_passed") return;
    assert.equal(block.type, "thinking");
    assert.equal(block.thinking, thought(route));
    assert.equal(typeof block.signature, "string");
  },

  async image(route, model) {
    const source = { type: "base64", media_type: "image/png", data: PNG };
    const content = [{ type: "image", source }, { type: "text", text: "what is this?" }];
    const asked = { model: model("talk"), ...ask(content) };
    sawImage(route, textOf(await client.messages.create(asked)));
  },

  async "count of tokens"(route, model) {
    const { messages } = ask("hello");
    const counted = await client.messages.countTokens({ model: model("talk"), messages });
    assert.ok(counted.input_tokens > 0);
  },

  async errors(route, model) {
    for (const status of ERRORS) {
      for (const stream of [false, true]) {
        const asked = { model: model(`error-${status}`), stream, ...ask("hello") };
        const error = await client.messages.create(asked).then(() => null, (error) => error);
        assert.ok(error instanceof Anthropic.APIError, `${status}: ${error}`);
        assert.equal(error.status, shown(status));
        assert.ok(error.requestID);
        if (status !== 401) assert.match(error.message, new RegExp(`his is a ${status}`));
        if (status === 429) assert.equal(error.headers.get("retry-after"), "40");
      }
    }
  },

  async "a stream that fails"(route, model) {
    for (const name of ["breaks", "cut"]) {
      const stream = client.messages.stream({ model: model(name), ...ask("hello") });
      await assert.rejects(stream.finalMessage(), Anthropic.APIError);
    }
  },

  async "a stream that is left"(route, model) {
    const stream = client.messages.stream({ model: model("forever"), ...ask("hello") });
    for await (const event of stream) if (event.type === "content_block_delta") break;
    await closedUpstream();
  },
});
