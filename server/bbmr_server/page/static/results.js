// A result's figures as rows of a table and as sentences.

const whole = new Intl.NumberFormat("en");
const EQUAL = 0.05; // dB: shown as 0.0
const VISIBLE = 0.5; // dB: a smaller difference is hardly visible

export const bytes = (count) =>
  count < 1000 ? `${count} bytes` : count < 999_500 ? `${(count / 1000).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`;
export const pixels = (count) => (count < 1e6 ? `${whole.format(count)} pixels` : `${(count / 1e6).toFixed(1)} megapixels`);
const decibel = (psnr) => (psnr === null ? "equal" : psnr.toFixed(2));

/** Fills the body of the table. Each row: [name, note, bytes or null, bpp or null, PSNR or undefined]. */
export function fill(body, rows) {
  body.replaceChildren(
    ...rows.map(([what, note, size, bpp, psnr], index) => {
      const row = document.createElement("tr");
      if (index === 0) row.className = "ours";
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = what;
      if (note) {
        const small = document.createElement("small");
        small.textContent = note;
        head.append(small);
      }
      row.append(head);
      for (const text of [size === null ? "–" : whole.format(size), bpp === null ? "–" : bpp.toFixed(2), psnr === undefined ? "–" : decibel(psnr)]) {
        const cell = document.createElement("td");
        cell.textContent = text;
        row.append(cell);
      }
      return row;
    }),
  );
}

/** Returns the rows for a container with these `facts`, for the photo's `file` if any, and for `figures` once measured. */
export function rows(facts, file, figures) {
  const found = [["bbmr", pixels(facts.pixels), facts.bytes, facts.bpp, figures?.bbmr.psnr_rgb]];
  if (figures) {
    const { avif, rescaled } = figures;
    if (rescaled) {
      const how = `${rescaled.width} × ${rescaled.height}, bicubic, no network`;
      found.push(["Rescaled, as many pixels", how, rescaled.bytes, rescaled.bpp, rescaled.psnr_rgb]);
    }
    if (avif) {
      const how = [...(avif.scale > 1 ? [atSize(avif)] : []), `quality ${avif.quality}`, `speed ${avif.speed}`].join(", ");
      found.push(["AVIF, as many bytes", how, avif.bytes, avif.bpp, avif.psnr_rgb]);
    }
  }
  if (file) found.push(["The photo's file", null, file.size, (file.size * 8) / (facts.width * facts.height), undefined]);
  return found;
}

/** Returns a result in one line; `made` is the response of /reconstruct. */
export function summary(facts, made) {
  if (facts.share === 1) return `${bytes(facts.bytes)}. Every pixel is kept.`;
  const time = networkTime(made.timing);
  const by = made.model === "none" ? "Shown without a network." : `Restored by ${made.model}${time ? ` in ${time}` : ""}.`;
  return `${bytes(facts.bytes)}, ${(facts.share * 100).toFixed(facts.share < 0.1 ? 1 : 0)} % of the pixels. ${by}`;
}

/** Returns sentences about the figures: first at the same number of pixels, then at the same number of bytes. */
export function verdict(facts, figures, fileSize) {
  const sentences = [besideRescaling(facts, figures), besideAvif(figures)];
  if (figures.bbmr.bytes > fileSize) sentences.push("The photo's own file is smaller than this container: choose fewer pixels.");
  return sentences;
}

function besideRescaling({ share }, { bbmr, rescaled, model }) {
  if (!rescaled && share === 1) return bbmr.psnr_rgb === null ? "Every pixel is kept: the picture is the original." : "Every pixel is kept.";
  if (!rescaled) return "With as many pixels, the whole photo could be kept: it is smaller than the blocks that it is cut into.";
  const gain = ahead(bbmr, rescaled);
  const extra = bbmr.bytes - rescaled.bytes;
  const cost = extra === 0 ? "as many bytes" : `${bytes(Math.abs(extra))} ${extra > 0 ? "more" : "less"}`;
  const rescaling = "scaling the whole photo down and up again (bicubic, no network)";
  if (gain === Infinity) return `With as many pixels, bbmr is the original, bit for bit; ${rescaling} is not. bbmr takes ${cost}.`;
  if (gain === -Infinity) return `With as many pixels, ${rescaling} gives the original, bit for bit; bbmr does not, and takes ${cost}.`;
  if (gain <= -VISIBLE) return `With as many pixels, bbmr loses here: ${rescaling} is ${(-gain).toFixed(1)} dB closer to the original. bbmr takes ${cost}.`;
  if (gain < VISIBLE) {
    const by = Math.abs(gain) <= EQUAL ? "no closer to the original and no further" : `${Math.abs(gain).toFixed(1)} dB ${gain > 0 ? "closer to the original" : "further from the original"}`;
    return `With as many pixels, bbmr hardly differs from ${rescaling}: it is ${by}, and takes ${cost}.`;
  }
  const both = `Choosing pixels block by block${model === "none" ? " does that" : " and the network do that together"}: that is what it is for.`;
  return `With as many pixels, bbmr is ${gain.toFixed(1)} dB closer to the original than ${rescaling}, and takes ${cost}. ${both}`;
}

function besideAvif({ bbmr, avif }) {
  if (!avif) return "AVIF cannot make this photo so small, even at an eighth of the size.";
  const theirs = ahead(avif, bbmr);
  const scaled = avif.scale > 1 ? ` (${atSize(avif)})` : "";
  const why = "bbmr keeps pixels without loss for now, and that costs bytes.";
  if (theirs === Infinity) return `AVIF wins: with as many bytes it is the original, bit for bit; bbmr is not. ${why}`;
  if (theirs === -Infinity) return `With as many bytes, bbmr is the original, bit for bit; AVIF${scaled} is not.`;
  if (theirs > EQUAL) return `AVIF wins: with as many bytes${scaled} it is closer to the original, by ${theirs.toFixed(1)} dB. ${why}`;
  if (theirs < -EQUAL) return `With as many bytes, bbmr is closer to the original than AVIF${scaled}, by ${(-theirs).toFixed(1)} dB.`;
  return `With as many bytes, AVIF${scaled} and bbmr are equally close to the original.`;
}

const atSize = ({ scale }) => ({ 2: "at half size", 4: "at a quarter of the size", 8: "at an eighth of the size" })[scale];

/** Returns by how many dB `one` is closer to the original than `other`; infinite if only one of them is equal to it. */
const ahead = (one, other) => (one.psnr_rgb === other.psnr_rgb ? 0 : value(one.psnr_rgb) - value(other.psnr_rgb));
const value = (psnr) => (psnr === null ? Infinity : psnr);

/** Returns the time of the network in a Server-Timing header, such as "0.8 s", or "". */
function networkTime(timing) {
  const found = /network;dur=([\d.]+)/.exec(timing);
  if (!found) return "";
  const seconds = found[1] / 1000;
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}
