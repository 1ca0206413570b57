// Reads an answer in parts, as `bbmr_server.http.parts` sends it.

const LINE = 10; // the byte that ends a part's line of JSON

/** Yields the parts: the objects of their lines, with the bytes that follow a line as `data` (a Blob). */
export async function* partsOf(answer) {
  const reader = answer.body.getReader();
  let chunks = []; // what has arrived and is not used yet
  let length = 0;

  async function more() {
    const { value, done } = await reader.read();
    if (done) return false;
    chunks.push(value);
    length += value.length;
    return true;
  }

  /** Returns the next `count` bytes as chunks. */
  function take(count) {
    const taken = [];
    length -= count;
    while (count > 0) {
      const [first] = chunks;
      if (first.length <= count) chunks.shift();
      else chunks[0] = first.subarray(count);
      taken.push(first.subarray(0, count));
      count -= Math.min(count, first.length);
    }
    return taken;
  }

  function lineLength() {
    let before = 0;
    for (const chunk of chunks) {
      const at = chunk.indexOf(LINE);
      if (at >= 0) return before + at + 1;
      before += chunk.length;
    }
    return 0;
  }

  try {
    for (;;) {
      while (!lineLength()) {
        if (await more()) continue;
        if (length) throw new TypeError("the answer ends within a part");
        return;
      }
      const part = JSON.parse(await new Blob(take(lineLength())).text());
      if (part.bytes !== undefined) {
        while (length < part.bytes) if (!(await more())) throw new TypeError("the answer ends within a part");
        part.data = new Blob(take(part.bytes));
      }
      yield part;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
