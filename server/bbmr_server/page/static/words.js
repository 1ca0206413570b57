// Figures as rows of a table and as sentences.

const whole = new Intl.NumberFormat("en");
const EQUAL = 0.05;

export const bytes = (count) =>
  count < 1000 ? `${count} bytes` : count < 999_500 ? `${(count / 1000).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`;
export const pixels = (count) => (count < 1e6 ? `${whole.format(count)} pixels` : `${(count / 1e6).toFixed(1)} megapixels`);
const decibel = (psnr) => (psnr === null ? "equal" : psnr.toFixed(2));

/** Fill the body of the table. `rows`: [what, note, bytes or null, bpp or null, PSNR, undefined where there is none]. */
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

/** The rows of a container with these `facts`, of the photo's `file` if there is one, and of `figures` once it is measured. */
export function rows(facts, file, figures) {
  const found = [["bbmr", pixels(facts.pixels), facts.bytes, facts.bpp, figures?.bbmr.psnr_rgb]];
  if (figures) {
    const { avif, rescaled } = figures;
    if (avif) found.push(["AVIF, as many bytes", `quality ${avif.quality}, speed ${avif.speed}`, avif.bytes, avif.bpp, avif.psnr_rgb]);
    found.push(["Rescaled, as many pixels", `${rescaled.width} × ${rescaled.height}, bicubic`, null, null, rescaled.psnr_rgb]);
  }
  if (file) found.push(["The photo's file", null, file.size, (file.size * 8) / (facts.width * facts.height), undefined]);
  return found;
}

/** A result in one line; `made` is the answer of the network. */
export function summary(facts, made) {
  const time = networkTime(made.timing);
  const by = made.model === "none" ? "Shown without a network." : `Restored by ${made.model}${time ? ` in ${time}` : ""}.`;
  return `${bytes(facts.bytes)}, ${(facts.share * 100).toFixed(facts.share < 0.1 ? 1 : 0)} % of the pixels. ${by}`;
}

/** What the figures say, good or bad. */
export function verdict(figures, fileSize) {
  const sentences = [];
  const ours = value(figures.bbmr.psnr_rgb);
  if (figures.avif === null) sentences.push("AVIF cannot make this photo so small at this size.");
  else {
    const ahead = value(figures.avif.psnr_rgb) - ours;
    if (ahead > EQUAL) {
      const by = Number.isFinite(ahead) ? `by ${ahead.toFixed(1)} dB` : "without any loss";
      sentences.push(`AVIF wins: with as many bytes it is closer to the original, ${by}. bbmr keeps pixels without loss for now, and that costs bytes.`);
    } else if (ahead < -EQUAL) sentences.push(`With as many bytes, bbmr is closer to the original than AVIF, by ${(-ahead).toFixed(1)} dB.`);
    else sentences.push("With as many bytes, AVIF and bbmr are equally close to the original.");
  }
  const gain = ours - value(figures.rescaled.psnr_rgb);
  if (gain > EQUAL) sentences.push(`With as many pixels, bbmr is ${gain.toFixed(1)} dB better than scaling the whole photo down and up again (bicubic, no network). That is what it is for.`);
  else if (gain < -EQUAL) sentences.push(`With as many pixels, scaling the whole photo down and up again is ${(-gain).toFixed(1)} dB better here.`);
  else if (ours !== Infinity) sentences.push("With as many pixels, scaling the whole photo down and up again is as good here.");
  else sentences.push("At this rate every pixel is kept: the picture is the original.");
  if (figures.bbmr.bytes > fileSize) sentences.push("The photo's own file is smaller than this container: choose fewer pixels.");
  return sentences;
}

const value = (psnr) => (psnr === null ? Infinity : psnr);

/** The milliseconds of the network in a Server-Timing header, as "0.8 s", or "". */
function networkTime(timing) {
  const found = /network;dur=([\d.]+)/.exec(timing);
  if (!found) return "";
  const seconds = found[1] / 1000;
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}
