// The Responses API through the official SDK for Node. Prints one JSON line for each case.
import assert from "node:assert/strict";
import OpenAI from "openai";

const { BASE_URL, API_KEY, ROUTE } = process.env;
const TEXT = JSON.parse(process.env.TEXT);
const client = new OpenAI({ baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0 });
const model = (name) => `${ROUTE}.${name}`;
const weather = {
  type: "function",
  name: "weather",
  strict: false,
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

const cases = {
  async plain() {
    const answer = await client.responses.create({ model: model("talk"), input: "hello" });
    assert.equal(answer.output_text, TEXT);
    assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
  },

  async "stream helper"() {
    const stream = client.responses.stream({ model: model("thinks"), input: "hello" });
    let text = "";
    stream.on("response.output_text.delta", (event) => (text += event.delta));
    const answer = await stream.finalResponse();
    assert.equal(text, TEXT);
    assert.equal(answer.output_text, TEXT);
    assert.equal(answer.output[0].type, "reasoning");
  },

  async "tools and what follows"() {
    const first = await client.responses.create({
      model: model("talk"),
      input: "hello",
      tools: [weather],
    });
    const calls = first.output.filter((item) => item.type === "function_call");
    assert.deepEqual(
      calls.map((call) => JSON.parse(call.arguments).city),
      ["Paris", "Zürich"],
    );
    const input = calls.map((call) => ({
      type: "function_call_output",
      call_id: call.call_id,
      output: JSON.parse(call.arguments).city,
    }));
    const stream = client.responses.stream({
      model: model("talk"),
      input,
      tools: [weather],
      previous_response_id: first.id,
    });
    assert.equal((await stream.finalResponse()).output_text, "Paris; Zürich");
  },

  async errors() {
    await assert.rejects(
      client.responses.create({ model: model("error-429"), input: "a" }),
      (error) => error instanceof OpenAI.RateLimitError && error.message.includes("This is a 429."),
    );
    await assert.rejects(
      client.responses.create({ model: model("talk"), input: "a", previous_response_id: "none" }),
      (error) => error.code === "previous_response_not_found",
    );
  },
};

for (const [name, run] of Object.entries(cases)) {
  let wrong = "";
  try {
    await run();
  } catch (error) {
    wrong = `${error.name}: ${error.message}\n${error.stack}`;
  }
  console.log(JSON.stringify({ name, wrong }));
}
