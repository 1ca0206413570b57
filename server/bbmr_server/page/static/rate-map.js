// The rate map over the picture, and its legend; colours come from the server.

const LABEL_SIDE = 40; // screen pixels that a block needs for its rate to be written into it
const BORDER_SIDE = 8; // screen pixels that a block needs for its border to be drawn

/** Draws one pixel for each block; CSS scales the canvas to the picture. */
export function drawMap(canvas, facts, rates) {
  canvas.width = facts.cols;
  canvas.height = facts.rows;
  // The last blocks may reach beyond the picture: that part is clipped.
  canvas.style.width = `${facts.cols * facts.block}px`;
  canvas.style.height = `${facts.rows * facts.block}px`;
  canvas.style.clipPath = `inset(0 ${facts.cols * facts.block - facts.width}px ${facts.rows * facts.block - facts.height}px 0)`;
  const context = canvas.getContext("2d");
  facts.rate_map.forEach((row, y) =>
    [...row].forEach((digit, x) => {
      context.fillStyle = rates.find(({ rate }) => rate === 2 ** Number(digit)).colour;
      context.fillRect(x, y, 1, 1);
    }),
  );
}

/**
 * Draws the borders of the blocks and, where there is room, their rates. Lines and letters have the same size at every
 * zoom, so this canvas has the size of the stage and is drawn again for each zoom. Draws nothing if `facts` is null.
 */
export function drawMarks(canvas, facts, { stage, at, scale }) {
  if (!facts || canvas.parentElement.hidden) return;
  const { clientWidth: wide, clientHeight: high } = stage;
  canvas.width = wide * devicePixelRatio;
  canvas.height = high * devicePixelRatio;
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${high}px`;
  const side = facts.block * scale;
  const context = canvas.getContext("2d");
  context.scale(devicePixelRatio, devicePixelRatio);
  const xs = edges(facts.cols, facts.width, at[0], wide);
  const ys = edges(facts.rows, facts.height, at[1], high);
  if (side >= BORDER_SIDE) {
    context.fillStyle = "rgb(12 13 16 / 45%)";
    const inside = (edge) => edge.number > 0 && edge.from === edge.start;
    for (const x of xs.filter(inside)) context.fillRect(Math.round(x.from), ys[0].from, 1, ys.at(-1).to - ys[0].from);
    for (const y of ys.filter(inside)) context.fillRect(xs[0].from, Math.round(y.from), xs.at(-1).to - xs[0].from, 1);
  }
  if (side < LABEL_SIDE) return;
  const size = Math.min(20, Math.max(13, side / 5)); // in the corner, where no tag and no handle covers the label
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "top";
  context.lineJoin = "round";
  context.lineWidth = 3.5;
  context.strokeStyle = "rgb(12 13 16 / 75%)";
  context.fillStyle = "#fff";
  for (const y of ys) {
    for (const x of xs) {
      if (Math.min(x.to - x.from, y.to - y.from) < size * 1.8) continue;
      const place = [String(2 ** Number(facts.rate_map[y.number][x.number])), x.from + size / 2, y.from + size / 2.2];
      context.strokeText(...place);
      context.fillText(...place);
    }
  }

  /** Returns the visible blocks along one axis: the start of each, and its visible part, in pixels of the stage. */
  function edges(count, length, origin, room) {
    const found = [];
    for (let number = 0; number < count; number++) {
      const start = origin + number * side;
      const end = origin + Math.min((number + 1) * facts.block, length) * scale;
      if (end > 0 && start < room) found.push({ number, start, from: Math.max(0, start), to: Math.min(room, end) });
    }
    return found;
  }
}

export function drawLegend(list, facts, rates) {
  list.replaceChildren(
    ...rates.map(({ rate, colour }) => {
      const item = document.createElement("li");
      const swatch = document.createElement("i");
      swatch.style.background = colour;
      const count = facts.rates[rate];
      const name = document.createElement("b");
      name.textContent = `Rate ${rate}`;
      const blocks = document.createElement("span");
      blocks.textContent = `${count} ${count === 1 ? "block" : "blocks"}`;
      item.append(swatch, name, blocks);
      return item;
    }),
  );
}
