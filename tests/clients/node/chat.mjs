// The official OpenAI SDK against BASE_URL, in Node and in a browser.
// One JSON line per case: {"name", "wrong"}.
import assert from "node:assert/strict";
import OpenAI from "openai";

const { BASE_URL, API_KEY, PREFIX } = process.env;
const TEXT = JSON.parse(process.env.TEXT);
const how = { baseURL: BASE_URL, maxRetries: 0, dangerouslyAllowBrowser: true };
const client = new OpenAI({ ...how, apiKey: API_KEY });
const model = (name) => PREFIX + name;
const ask = (content) => [{ role: "user", content }];

const weather = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather in a city",
    parameters: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
      additionalProperties: false,
    },
  },
};

const cases = {
  async plain() {
    const reply = await client.chat.completions.create({
      model: model("talk"),
      messages: ask("hello"),
    });
    assert.equal(reply.object, "chat.completion");
    assert.equal(reply.choices.length, 1);
    assert.equal(reply.choices[0].message.content, TEXT);
    assert.equal(reply.choices[0].message.role, "assistant");
    assert.equal(reply.choices[0].finish_reason, "stop");
    assert.ok(reply.usage.total_tokens > 0);
  },

  async stream() {
    const stream = await client.chat.completions.create({
      model: model("talk"),
      messages: ask("hello"),
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let usage = null;
    const finishes = [];
    for await (const chunk of stream) {
      assert.equal(chunk.object, "chat.completion.chunk");
      usage = chunk.usage ?? usage;
      for (const choice of chunk.choices) {
        text += choice.delta.content ?? "";
        if (choice.finish_reason) finishes.push(choice.finish_reason);
      }
    }
    assert.equal(text, TEXT);
    assert.deepEqual(finishes, ["stop"]);
    assert.ok(usage.completion_tokens > 0);
  },

  async "stream of single bytes"() {
    const stream = await client.chat.completions.create({
      model: model("bytes"),
      messages: ask("hello"),
      stream: true,
    });
    let text = "";
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    assert.equal(text, TEXT);
  },

  async "stream helper"() {
    const runner = client.chat.completions.stream({ model: model("talk"), messages: ask("hello") });
    let text = "";
    runner.on("content", (delta) => (text += delta));
    const final = await runner.finalChatCompletion();
    assert.equal(text, TEXT);
    assert.equal(final.choices[0].message.content, TEXT);
    assert.equal(final.choices[0].finish_reason, "stop");
  },

  async tools() {
    const messages = ask("weather in Paris and Zürich");
    const first = await client.chat.completions.create({
      model: model("talk"),
      messages,
      tools: [weather],
    });
    const { message, finish_reason } = first.choices[0];
    assert.equal(finish_reason, "tool_calls");
    assert.deepEqual(
      message.tool_calls.map((call) => JSON.parse(call.function.arguments)),
      [{ city: "Paris" }, { city: "Zürich" }],
    );
    messages.push(message);
    for (const call of message.tool_calls) {
      messages.push({ role: "tool", tool_call_id: call.id, content: `21° (${call.id})` });
    }
    const second = await client.chat.completions.create({
      model: model("talk"),
      messages,
      tools: [weather],
    });
    const ids = message.tool_calls.map((call) => call.id);
    assert.equal(second.choices[0].message.content, ids.map((id) => `21° (${id})`).join("; "));
  },

  async "tools, streamed"() {
    const runner = client.chat.completions.stream({
      model: model("talk"),
      messages: ask("weather in Paris and Zürich"),
      tools: [weather],
    });
    const final = await runner.finalChatCompletion();
    const calls = final.choices[0].message.tool_calls;
    assert.equal(final.choices[0].finish_reason, "tool_calls");
    assert.deepEqual(
      calls.map((call) => [call.function.name, JSON.parse(call.function.arguments).city]),
      [
        ["weather", "Paris"],
        ["weather", "Zürich"],
      ],
    );
    assert.equal(new Set(calls.map((call) => call.id)).size, 2);
  },

  async "tools, run by the SDK"() {
    const cities = [];
    const runner = client.chat.completions.runTools({
      model: model("talk"),
      messages: ask("weather in Paris and Zürich"),
      stream: true,
      tools: [
        {
          type: "function",
          function: {
            ...weather.function,
            parse: JSON.parse,
            function: ({ city }) => {
              cities.push(city);
              return `21° in ${city}`;
            },
          },
        },
      ],
    });
    assert.equal(await runner.finalContent(), "21° in Paris; 21° in Zürich");
    assert.deepEqual(cities, ["Paris", "Zürich"]);
  },

  async image() {
    const url = `data:image/png;base64,${btoa("\x07".repeat(300_000))}`;
    const reply = await client.chat.completions.create({
      model: model("talk"),
      messages: ask([
        { type: "text", text: "what is this?" },
        { type: "image_url", image_url: { url, detail: "low" } },
      ]),
    });
    assert.equal(reply.choices[0].message.content, "image/png of 300000 bytes, low");
  },

  async errors() {
    const classes = {
      400: OpenAI.BadRequestError,
      404: OpenAI.NotFoundError,
      422: OpenAI.UnprocessableEntityError,
      429: OpenAI.RateLimitError,
      500: OpenAI.InternalServerError,
    };
    for (const [status, kind] of Object.entries(classes)) {
      await assert.rejects(
        client.chat.completions.create({ model: model(`error-${status}`), messages: ask("hello") }),
        (error) => error instanceof kind && typeof error.type === "string",
        `status ${status}`,
      );
    }
    const stranger = new OpenAI({ ...how, apiKey: "wrong-key" });
    await assert.rejects(
      stranger.chat.completions.create({ model: model("talk"), messages: ask("hello") }),
      OpenAI.AuthenticationError,
    );
  },

  async "error in a stream"() {
    const stream = await client.chat.completions.create({
      model: model("breaks"),
      messages: ask("hello"),
      stream: true,
    });
    let text = "";
    await assert.rejects(async () => {
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    }, OpenAI.APIError);
    assert.ok(text.length > 0 && TEXT.startsWith(text));
  },

  async embeddings() {
    const vectors = [[0.5, -1.25, 3.0], [1.0, 0.0, 0.015625]];
    const input = ["a", "béé"];
    // Numbers where base64 was asked for this SDK reads as no numbers at all.
    const translated = model("") !== "";
    for (const name of translated ? ["embed", "embed-plain"] : ["embed"]) {
      const reply = await client.embeddings.create({ model: model(name), input });
      assert.deepEqual(reply.data.map((item) => item.embedding), vectors);
      assert.equal(reply.usage.prompt_tokens, 4);
    }
    const float = { model: model("embed"), input: "a", encoding_format: "float" };
    assert.deepEqual((await client.embeddings.create(float)).data[0].embedding, vectors[0]);
    const packed = { model: model("embed"), input: "a", encoding_format: "base64" };
    const [item] = (await client.embeddings.create(packed)).data;
    assert.equal(item.embedding, "AAAAPwAAoL8AAEBA");
  },

  async models() {
    const names = [];
    for await (const known of client.models.list()) names.push(known.id);
    assert.ok(names.includes(model("talk")));
    assert.equal((await client.models.retrieve(model("talk"))).id, model("talk"));
    await assert.rejects(client.models.retrieve("no-such-model"), OpenAI.NotFoundError);
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
