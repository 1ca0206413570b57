// A result's figures as rows of a table and as sentences.

const whole = new Intl.NumberFormat("en");
const EQUAL = 0.05; // dB: shown as 0.0

export const bytes = (count) =>
  count < 1000 ? `${count} bytes` : count < 999_500 ? `${(count / 1000).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`;
export const pixels = (count) => (count < 1e6 ? `${whole.format(count)} pixels` : `${(count / 1e6).toFixed(1)} megapixels`);
const density = (bpp) => bpp.toFixed(bpp < 0.1 ? 3 : 2);
const decibel = (psnr) => (psnr === null ? "equal" : psnr.toFixed(2));

// [name, heading, title, how it is written, whether more is better]
const MEASURES = [
  ["bytes", "Bytes", "of the whole file", (value) => whole.format(value), false],
  ["bpp", "Bits per pixel", "of the whole file", density, false],
  ["psnr_rgb", "PSNR-RGB, dB", "over red, green and blue; more is closer to the original", decibel, true],
  ["psnr_y", "PSNR-Y, dB", "over luma; more is closer to the original", decibel, true],
  ["ssim", "SSIM", "structural similarity of luma; 1 is the original", (value) => value.toFixed(4), true],
];

/** Returns the rows of the table: { name, heading, title, cells: [bbmr's, AVIF's], best: index of the better one or -1 }. */
export function rows(facts, figures) {
  const both = [figures?.bbmr ?? facts, figures?.avif];
  return MEASURES.map(([name, heading, title, write, ranked]) => {
    const cells = both.map((one) => (one?.[name] === undefined ? "–" : write(one[name])));
    const better = ranked && figures?.avif && cells[0] !== cells[1];
    return { name, heading, title, cells, best: better ? Number(value(both[1][name]) > value(both[0][name])) : -1 };
  });
}

/** Fills the body of the table. */
export function fill(body, rows) {
  body.replaceChildren(
    ...rows.map(({ name, heading, title, cells, best }) => {
      const row = document.createElement("tr");
      row.dataset.name = name;
      const head = Object.assign(document.createElement("th"), { scope: "row" });
      head.append(Object.assign(document.createElement("abbr"), { textContent: heading, title }));
      row.append(head);
      cells.forEach((text, index) => {
        row.append(Object.assign(document.createElement("td"), { textContent: text, className: index === best ? "best" : "" }));
      });
      return row;
    }),
  );
}

/** Returns a result in one line; `made`: { model, seconds: of the network or undefined }. */
export function summary(facts, made) {
  const lossless = facts.planes.every(({ codec }) => codec === "webp" || codec === "png");
  const size = `${bytes(facts.bytes)}, ${density(facts.bpp)} bits per pixel.`;
  if (facts.share === 1 && lossless) return `${size} Every pixel is kept.`;
  if (made.model === "none") return `${size} Shown without a network.`;
  return `${size} Restored by ${made.model}${made.seconds === undefined ? "" : ` in ${time(made.seconds)}`}.`;
}

/**
 * Returns who is closer to the original with equally many bytes, in one sentence. PSNR-RGB decides: the AVIF was chosen
 * by it. A lead of bbmr in luma alone is no win, because AVIF in another chroma format may be closer there.
 */
export function verdict({ bbmr, avif }) {
  if (!avif) return "No AVIF of this photo is so small, even at an eighth of the size.";
  const name = `AVIF${avif.scale > 1 ? ` (${atSize(avif)})` : ""}`;
  const colour = ahead(bbmr, avif, "psnr_rgb");
  const luma = ahead(bbmr, avif, "psnr_y");
  const original = "with as many bytes it is the original, bit for bit";
  if (colour === Infinity) return `bbmr wins: ${original}; ${name} is not.`;
  if (colour === -Infinity) return `AVIF wins: ${original}; bbmr is not.`;
  const lead = (value) => `${Math.abs(value).toFixed(1)} dB closer`;
  if (colour > EQUAL && luma < -EQUAL && Number.isFinite(luma)) {
    return `Neither wins: at equal bytes, bbmr is ${lead(colour)} to the original over red, green and blue, ${name} ${lead(luma)} in luma.`;
  }
  if (colour > EQUAL) return `bbmr wins: at equal bytes it is ${lead(colour)} to the original than ${name}.`;
  if (colour < -EQUAL) return `${name} wins: at equal bytes it is ${lead(colour)} to the original than bbmr.`;
  if (luma < -EQUAL && Number.isFinite(luma)) return `${name} wins: at equal bytes it is ${lead(luma)} to the original in luma than bbmr.`;
  return `At equal bytes, bbmr and ${name} are equally close to the original.`;
}

/** Returns sentences about the rates of the blocks, and about the photo's own file, if any. */
export function remarks(facts, model, fileSize) {
  const own = [];
  if (fileSize > facts.bytes) own.push(`The photo's own file has ${bytes(fileSize)}; this one is ${percent(facts.bytes / fileSize)} of it.`);
  else if (fileSize) own.push("The photo's own file is smaller than this one: choose a lower quality.");
  return [ratesOf(facts, model), ...own];
}

function ratesOf(facts, model) {
  const used = usedRates(facts);
  if (used.length > 1) return `Its blocks have the rates ${listed(used)}; the rate map shows where.`;
  if (used[0] === 1) return "All blocks have the rate 1: every pixel is coded.";
  const rest = model === "none" ? "are interpolated" : "come from the network";
  return `All blocks have the rate ${used[0]}: one pixel in ${used[0] ** 2} is coded, the others ${rest}.`;
}

/** Returns the rates that blocks have, ascending. */
export const usedRates = (facts) => Object.keys(facts.rates).map(Number).filter((rate) => facts.rates[rate]).sort((a, b) => a - b);

/** Returns how the figures were made, one sentence each. `avif` is the part with the file, or null. */
export function method(setting, facts, figures, avif) {
  const planes = facts.planes.map(({ rate, codec, bytes: size }) => `rate ${rate} (${codec}, ${bytes(size)})`);
  const found = [`bbmr: quality ${setting.quality}, ${planes.length > 1 ? "planes" : "one plane"} of ${listed(planes)}.`];
  if (avif) {
    const size = avif.scale > 1 ? `, ${atSize(avif)} and scaled up again` : "";
    found.push(`AVIF: libaom at speed ${avif.speed}, tune ${avif.tune}, ${avif.subsampling}, quality ${avif.quality}${size}: the highest that fits, in the size and chroma format with the best PSNR-RGB.`);
    if (avif.subsampling === "4:4:4") found.push("An AVIF in 4:2:0 may have a higher PSNR-Y, at a lower PSNR-RGB.");
    const unused = 1 - figures.avif.bytes / (figures.bbmr.bytes - facts.alpha_bytes);
    if (unused > 0.005) {
      found.push(`AVIF's steps of quality are coarse: this file leaves ${percent(unused)} of the bytes unused. The sentence above compares at exactly equal bytes, between this file and the next larger one.`);
    }
  }
  if (facts.alpha_bytes) found.push(`The ${bytes(facts.alpha_bytes)} of the alpha channel are left out: the AVIF has none.`);
  return [...found, ...figures.notes.map((note) => `The photo: ${note}.`)];
}

const atSize = ({ scale }) => ({ 2: "at half size", 4: "at a quarter of the size", 8: "at an eighth of the size" })[scale];
const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
const listed = (all) => (all.length > 1 ? `${all.slice(0, -1).join(", ")} and ${all.at(-1)}` : String(all[0]));
const time = (seconds) => (seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`);
const value = (psnr) => (psnr === null ? Infinity : psnr);

/** Returns by how many dB bbmr is closer to the original than AVIF at equal bytes; infinite if one of them is equal to it. */
function ahead(bbmr, avif, measure) {
  const theirs = (avif.equal ?? avif)[measure];
  return bbmr[measure] === theirs ? 0 : value(bbmr[measure]) - value(theirs);
}
