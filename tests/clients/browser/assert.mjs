// The part of node:assert/strict that the cases of ../node use, for a page.
const shown = (value) => JSON.stringify(value) ?? String(value);

function check(good, message) {
  if (!good) throw new Error(message ?? "it does not hold");
}

function same(actual, expected) {
  if (Object.is(actual, expected)) return true;
  if (typeof actual !== "object" || typeof expected !== "object" || !actual || !expected) {
    return false;
  }
  const names = Object.keys(actual);
  if (Array.isArray(actual) !== Array.isArray(expected)) return false;
  if (names.length !== Object.keys(expected).length) return false;
  return names.every((name) => name in expected && same(actual[name], expected[name]));
}

export default {
  ok: check,
  fail: (message) => check(false, message),
  equal: (actual, expected, message) =>
    check(Object.is(actual, expected), message ?? `${shown(actual)} is not ${shown(expected)}`),
  deepEqual: (actual, expected, message) =>
    check(same(actual, expected), message ?? `${shown(actual)} is not ${shown(expected)}`),
  match: (text, pattern) => check(pattern.test(text), `${shown(text)} does not match ${pattern}`),

  // wanted: a class of errors, or a function that tells whether one is right.
  async rejects(promise, wanted, message = "") {
    const failed = (typeof promise === "function" ? promise() : promise).then(
      () => check(false, `it did not fail ${message}`),
      (error) => ({ error }),
    );
    const { error } = await failed;
    const right = wanted.prototype === undefined ? wanted(error) : error instanceof wanted;
    check(right, `another error than wanted: ${error?.name}: ${error?.message} ${message}`);
  },
};
