// The rate map over the picture, and its legend; colours come from the server.

/** Draw one pixel a block; CSS scales the canvas to the picture. */
export function drawMap(layer, facts, rates) {
  const canvas = layer.querySelector("canvas");
  canvas.width = facts.cols;
  canvas.height = facts.rows;
  // The last blocks may reach beyond the picture (or stop short of a whole block): what is outside is cut off.
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
