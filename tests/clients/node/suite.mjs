// Runs cases on every route of ROUTES and prints a JSON line of each: {"route", "name", "wrong"}.
// A case gets the route's name and a function that makes a model's name of a stub's.
import assert from "node:assert/strict";

export const { BASE_URL, API_KEY } = process.env;
const OPEN_STREAMS = process.env.OPEN_STREAMS ?? `${BASE_URL}/open-streams`;
export const TEXT = JSON.parse(process.env.TEXT);
export const PNG = "iVBORw0KGgo=";
export const CITIES = ["Paris", "Zürich"];
export const ERRORS = [400, 401, 404, 429, 500];
// The status that a client of another route gets for an upstream's.
export const shown = (status) => ({ 401: 502, 500: 502 })[status] ?? status;
export const upstream = (route) => route.split("_")[0];
export const thought = (route) => (upstream(route) === "responses" ? "well, \n\n好" : "well, 好");

export function sawImage(route, text) {
  const seen = upstream(route) === "responses" ? `base64,${PNG}` : "of 8 bytes";
  assert.ok(text.includes(seen), text);
}

export async function closedUpstream() {
  const until = Date.now() + 1000;
  while (Date.now() < until) {
    if ((await (await fetch(OPEN_STREAMS)).text()) === "0") return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail("the upstream's stream is still open after a second");
}

export async function run(cases) {
  for (const route of JSON.parse(process.env.ROUTES)) {
    for (const [name, body] of Object.entries(cases)) {
      let wrong = "";
      try {
        await body(route, (model) => `${route}.${model}`);
      } catch (error) {
        wrong = `${error.name}: ${error.message}\n${error.stack}`;
      }
      console.log(JSON.stringify({ route, name, wrong }));
    }
  }
}
