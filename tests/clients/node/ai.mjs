// The Vercel AI SDK, which checks every reply: its four providers on every route.
import assert from "node:assert/strict";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import {
  API_KEY, BASE_URL, CITIES, ERRORS, PNG, TEXT, closedUpstream, run, sawImage, shown, thought,
  upstream,
} from "./suite.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const settings = { baseURL: `${BASE_URL}/v1`, apiKey: API_KEY };
const compatible = createOpenAICompatible({
  name: "gw", includeUsage: true, supportsStructuredOutputs: true, ...settings,
});
const openai = createOpenAI(settings);
const anthropic = createAnthropic(settings);
const providers = {
  compatible,
  chat: (name) => openai.chat(name),
  responses: (name) => openai.responses(name),
  messages: (name) => anthropic(name),
};
const quiet = { maxRetries: 0, onError() {} };
const thinking = {
  anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } },
  gw: { reasoningEffort: "high" },
  openai: { forceReasoning: true, reasoningEffort: "high", reasoningSummary: "auto" },
};
const weather = tool({
  description: "The weather in a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `21° in ${city}`,
});

const cases = {
  async text(model) {
    const answer = await generateText({ model: model("talk"), prompt: "hello", maxRetries: 0 });
    assert.equal(answer.text, TEXT);
    assert.equal(answer.finishReason, "stop");
    assert.equal(answer.usage.inputTokens, 19);
  },

  async stream(model) {
    const answer = streamText({ model: model("bytes"), prompt: "hello", ...quiet });
    let text = "";
    for await (const piece of answer.textStream) text += piece;
    assert.equal(text, TEXT);
    assert.equal(await answer.finishReason, "stop");
    assert.equal((await answer.usage).inputTokens, 19);
  },

  async tools(model) {
    const answer = await generateText({
      model: model("talk"), prompt: "weather?", tools: { weather }, stopWhen: stepCountIs(2),
      maxRetries: 0,
    });
    assert.deepEqual(answer.steps[0].toolCalls.map((call) => call.input.city), CITIES);
    assert.equal(answer.steps[0].finishReason, "tool-calls");
    for (const city of CITIES) assert.ok(answer.text.includes(`21° in ${city}`), answer.text);
  },

  async "tools, streamed"(model) {
    const answer = streamText({
      model: model("talk"), prompt: "weather?", tools: { weather }, stopWhen: stepCountIs(2),
      ...quiet,
    });
    await answer.consumeStream();
    const [first] = await answer.steps;
    assert.deepEqual(first.toolCalls.map((call) => call.input.city), CITIES);
    assert.equal(new Set(first.toolCalls.map((call) => call.toolCallId)).size, 2);
    const text = await answer.text;
    for (const city of CITIES) assert.ok(text.includes(`21° in ${city}`), text);
  },

  async thinking(model, route, provider) {
    if (provider === "chat") return; // which knows no thoughts
    for (const send of [generateText, streamText]) {
      const answer = await send({
        model: model("thinks"), prompt: "hello", providerOptions: thinking, ...quiet,
      });
      await answer.consumeStream?.();
      const told = (await answer.reasoningText) ?? "";
      assert.equal(told.replaceAll("\n\n", ""), thought(route).replaceAll("\n\n", ""));
      assert.equal(await answer.text, TEXT);
    }
  },

  async image(model, route) {
    const content = [
      { type: "text", text: "what is this?" },
      { type: "image", image: PNG, mediaType: "image/png" },
    ];
    const messages = [{ role: "user", content }];
    sawImage(route, (await generateText({ model: model("talk"), messages, maxRetries: 0 })).text);
  },

  async "an object"(model, route, provider) {
    const made = ["chat", "responses", "ollama"].includes(upstream(route));
    if (!made || provider === "messages") return; // stubs that make no JSON
    const schema = z.object({ name: z.string(), age: z.number() });
    const asked = { model: model("talk"), schema, prompt: "who?", maxRetries: 0 };
    assert.deepEqual((await generateObject(asked)).object, { name: "Žofia 王", age: 34 });
  },

  async errors(model) {
    for (const status of ERRORS) {
      const asked = { model: model(`error-${status}`), prompt: "hello", ...quiet };
      const error = await generateText(asked).then(() => null, (error) => error);
      assert.ok(APICallError.isInstance(error), `${status}: ${error}`);
      assert.equal(error.statusCode, shown(status));
      if (status !== 401) assert.match(error.message, new RegExp(`his is a ${status}`));
      if (status === 429) assert.equal(error.responseHeaders["retry-after"], "40");
    }
  },

  async "a stream that fails"(model) {
    for (const name of ["breaks", "cut"]) {
      const answer = streamText({ model: model(name), prompt: "hello", ...quiet });
      const kinds = [];
      for await (const part of answer.fullStream) kinds.push(part.type);
      assert.ok(kinds.includes("error"), kinds.join());
    }
  },

  async "a stream that is left"(model) {
    const gone = new AbortController();
    const asked = { model: model("forever"), prompt: "hello", abortSignal: gone.signal };
    for await (const part of streamText({ ...asked, ...quiet }).fullStream) {
      if (part.type === "text-delta") gone.abort();
    }
    await closedUpstream();
  },
};

const all = {};
for (const [provider, make] of Object.entries(providers)) {
  for (const [name, body] of Object.entries(cases)) {
    all[`${provider}: ${name}`] = (route, model) =>
      body((id) => make(model(id)), route, provider);
  }
}
run(all);
