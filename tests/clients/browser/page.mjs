// What the pages of the tests can do: each function is called from outside, by name.

const told = (answer) => ({
  status: answer.status,
  type: answer.type,
  headers: Object.fromEntries(answer.headers),
});

// An answer as far as the page may see it, or why it saw none.
globalThis.ask = async (url, asked) => {
  try {
    const answer = await fetch(url, asked);
    return { ...told(answer), text: await answer.text() };
  } catch (error) {
    return { failed: `${error.name}: ${error.message}` };
  }
};

const held = {};

// Ask for a stream; the text that came when `word` was in it.
globalThis.begin = async (url, asked, word) => {
  held.left = new AbortController();
  const answer = await fetch(url, { ...asked, signal: held.left.signal });
  held.reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes(word)) {
    const { value, done } = await held.reader.read();
    if (done) throw new Error(`it ended before ${word}: ${text}`);
    text += value;
  }
  return { ...told(answer), text };
};

// Read that stream to its end.
globalThis.rest = async () => {
  let text = "";
  for (;;) {
    const { value, done } = await held.reader.read();
    if (done) return text;
    text += value;
  }
};

// Leave that stream; what reading on says then.
globalThis.leave = async () => {
  held.left.abort();
  return globalThis.rest().then(() => "", (error) => error.name);
};

// Run a module that prints a line of JSON for each case; the lines.
globalThis.cases = async (module, settings) => {
  globalThis.settings = settings;
  const lines = [];
  console.log = (line) => lines.push(JSON.parse(line));
  await import(module);
  return lines;
};

// What a sandboxed frame, whose origin is `null`, is answered.
globalThis.sandboxed = (url, asked) =>
  new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    const call = `fetch(${JSON.stringify(url)}, ${JSON.stringify(asked)})`;
    const tell = "(text) => parent.postMessage(String(text), '*')";
    frame.srcdoc = `<script>${call}.then((answer) => answer.status).then(${tell}, ${tell})</script>`;
    addEventListener("message", (event) => resolve(event.data), { once: true });
    document.body.append(frame);
  });
