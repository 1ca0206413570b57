// The page: what is chosen goes through encode, reconstruct and compare, and each answer is shown as it comes.

import { Refusal, keepKey, server } from "./api.js";
import { Budget } from "./budget.js";
import { drawLegend, drawMap } from "./rates.js";
import { Viewer, zoomStep } from "./viewer.js";
import { bytes, fill, networkTime, pixels, verdict } from "./words.js";

const $ = (id) => document.getElementById(id);
const SIGNATURE = [0x8b, 0x42, 0x42, 0x4d]; // of a container

const viewer = new Viewer($("stage"), (zoom) => ($("zoom").textContent = `${Math.round(zoom * 100)} %`));
const budget = new Budget($("rate"), $("rate-value"), () => source?.kind === "photo" && run());
let limits = null;
let source = null; // what was chosen: { kind, file, name, … }
let task = null; // the AbortController of what is under way
const urls = new Map(); // what a picture is for → its address in this page

// What was chosen

async function choose(file, name) {
  begin();
  source = { kind: "photo", file, name };
  await attempt(async (ask) => {
    limits ??= await ask.limits();
    $("version").textContent = limits.version;
    if (file.size === 0) throw new Refusal("This file is empty", `${name} has 0 bytes.`);
    if (file.size > limits.max_body_bytes) {
      throw new Refusal("This file is too large", `${name} has ${bytes(file.size)}; this server takes at most ${bytes(limits.max_body_bytes)}.`);
    }
    const start = new Uint8Array(await ask.still(file.slice(0, SIGNATURE.length).arrayBuffer()));
    if (name.toLowerCase().endsWith(".bbmr") || SIGNATURE.every((byte, at) => start[at] === byte)) source.kind = "container";
    else if (file.type && file.type !== "application/octet-stream" && !file.type.startsWith("image/")) {
      throw new Refusal("This is no photo", `${name} is of the type ${file.type}. Choose a JPEG, PNG, WebP, AVIF, HEIC or TIFF file, or a .bbmr.`);
    }
    await listModels(ask);
    await (source.kind === "photo" ? work(ask) : look(ask));
  });
}

/** Again with the same source: another budget, another network, or after a refusal. */
function run() {
  if (!source) return Promise.resolve();
  if (!source.begun) return choose(source.file, source.name);
  return attempt((ask) => (source.kind === "photo" ? work(ask) : look(ask)));
}

// What is done with it

async function work(ask) {
  const { file } = source;
  if (!source.begun) await showOriginal(ask);
  const query = { ...budget.query, ...model() };
  say(`Encoding at rate ${query.rate} …`);
  const container = await ask.encode(file, { ...query, metadata: "icc" });
  const [facts, made] = await Promise.all([ask.facts(container), ask.reconstruct(container, model())]);
  await show(ask, facts, made, container);
  fill($("rows"), [ours(facts), yours(file, facts)]);
  $("numbers").hidden = false;
  if (container.size + file.size > limits.max_body_bytes) {
    say(`${done(facts, made)} Photo and container together are too large to be measured here.`);
    return;
  }
  say(`${done(facts, made)} Measuring …`, true);
  const figures = await ask.compare(container, file, model());
  const { avif, rescaled, bbmr, notes } = figures;
  const rows = [ours(facts, bbmr.psnr_rgb)];
  if (avif) rows.push(["AVIF, as many bytes", `quality ${avif.quality}, speed ${avif.speed}`, avif.bytes, avif.bpp, avif.psnr_rgb]);
  rows.push(["Rescaled, as many pixels", `${rescaled.width} × ${rescaled.height}, bicubic`, null, null, rescaled.psnr_rgb], yours(file, facts));
  fill($("rows"), rows);
  paragraphs(verdict(figures, file.size), notes.map((note) => `Note: ${note}.`));
  say(done(facts, made));
}

async function look(ask) {
  const container = source.file;
  say("Reading the container …");
  const facts = await ask.facts(container);
  const side = Math.max(facts.width, facts.height);
  const composite = await ask.reconstruct(container, { max_side: side });
  source.begun = true;
  await original(composite.picture, facts.width, facts.height, ["Without the network", "With it"]);
  const made = await ask.reconstruct(container, model());
  await show(ask, facts, made, container);
  fill($("rows"), [ours(facts)]);
  $("numbers").hidden = false;
  paragraphs(["Left is what the file shows without any network, right what the network makes of it. There is no original here to measure against."]);
  say(done(facts, made));
}

/** The photo as the browser shows it, or as the server does where the browser cannot. */
async function showOriginal(ask) {
  const { file } = source;
  let picture = file;
  let size = await ask.still(sizeOf(file));
  if (!size) {
    say("The browser does not know this format; the server makes a picture of it …");
    picture = await ask.photo(file);
    size = (await ask.still(sizeOf(picture))) ?? [1, 1];
  }
  if (size[0] * size[1] > limits.max_photo_pixels) {
    throw new Refusal("This photo is too large", `It has ${pixels(size[0] * size[1])}; this server takes at most ${pixels(limits.max_photo_pixels)}.`);
  }
  source.begun = true;
  await original(picture, ...size, ["Original", "bbmr"]);
}

async function sizeOf(blob) {
  const image = new Image();
  const url = URL.createObjectURL(blob);
  try {
    image.src = url;
    await image.decode();
    return [image.naturalWidth, image.naturalHeight];
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(url);
  }
}

// What is shown

function begin() {
  $("welcome").hidden = true;
  $("work").hidden = false;
  $("budget").hidden = true;
  $("name").textContent = "";
  viewer.clear();
  $("take").hidden = true;
  $("numbers").hidden = true;
  $("verdict").replaceChildren();
  showMap(false);
  $("overlay").disabled = true;
  for (const tag of ["tag-before", "tag-after"]) $(tag).hidden = true;
  scrollTo({ top: 0 });
}

async function original(picture, width, height, tags) {
  $("budget").hidden = source.kind !== "photo" && $("model-row").hidden;
  for (const part of $("budget").querySelectorAll(".row:not(.model), #rate, .ends")) part.hidden = source.kind !== "photo";
  $("name").textContent = `${source.name} · ${width} × ${height}`;
  [$("tag-before").textContent, $("tag-after").textContent] = tags;
  $("tag-before").hidden = false;
  viewer.begin(address("before", picture), width, height);
}

async function show(ask, facts, made, container) {
  viewer.resize(facts.width, facts.height);
  await ask.still(viewer.finish(address("after", made.picture)));
  $("tag-after").hidden = false;
  drawMap($("map"), facts, limits.rates);
  drawLegend($("legend"), facts, limits.rates);
  viewer.draw();
  $("overlay").disabled = false;
  const stem = source.name.replace(/\.[^.]*$/, "") || "photo";
  link($("download"), address("container", container), `${stem}.bbmr`, `Download .bbmr (${bytes(container.size)})`);
  link($("picture"), urls.get("after"), `${stem}-bbmr.png`);
  $("take").hidden = false;
}

const ours = (facts, psnr) => ["bbmr", pixels(facts.pixels), facts.bytes, facts.bpp, psnr];
const yours = (file, facts) => ["The photo's file", null, file.size, (file.size * 8) / (facts.width * facts.height), undefined];

function done(facts, made) {
  const time = networkTime(made.timing);
  const by = made.model === "none" ? "Shown without a network." : `Restored by ${made.model}${time ? ` in ${time}` : ""}.`;
  return `${bytes(facts.bytes)}, ${(facts.share * 100).toFixed(facts.share < 0.1 ? 1 : 0)} % of the pixels. ${by}`;
}

function paragraphs(...groups) {
  $("verdict").replaceChildren(
    ...groups.flat().map((text) => Object.assign(document.createElement("p"), { textContent: text })),
  );
}

function link(element, url, name, text) {
  element.href = url;
  element.download = name;
  if (text) element.textContent = text;
}

function address(purpose, blob) {
  if (urls.has(purpose)) URL.revokeObjectURL(urls.get(purpose));
  urls.set(purpose, URL.createObjectURL(blob));
  return urls.get(purpose);
}

function showMap(on) {
  $("map").hidden = !on;
  $("legend").hidden = !on;
  $("stage").classList.toggle("mapped", on);
  $("overlay").setAttribute("aria-pressed", on);
}

function say(text, busy = text.endsWith("…")) {
  $("status").textContent = text;
  $("working").hidden = !busy;
  $("stage").setAttribute("aria-busy", busy);
}

// Networks

const model = () => ($("model").value ? { model: $("model").value } : {});

async function listModels(ask) {
  if ($("model").options.length) return;
  const { models, default: first } = await ask.models();
  if (models.length < 2) return;
  for (const { name } of models) $("model").add(new Option(name, name, name === first, name === first));
  $("model-row").hidden = false;
}

// Refusals

async function attempt(doing) {
  task?.abort();
  const own = (task = new AbortController());
  $("problem").hidden = true;
  $("key-form").hidden = true;
  say("Reading the file …");
  const waiting = (left) => say(left ? `The server is busy. Trying again in ${left} s …` : "Trying again …");
  try {
    await doing(server(own.signal, waiting));
  } catch (error) {
    if (error.name === "AbortError" || own !== task) return;
    refuse(error);
  }
}

function refuse(error) {
  say("");
  if (!source?.begun) {
    $("work").hidden = true;
    $("welcome").hidden = false;
  }
  if (!(error instanceof Refusal)) {
    console.error(error);
    error = new Refusal("Something went wrong on this page", `${error.message || error}.`);
  }
  if (error.kind === "key") {
    const again = Boolean(sessionStorage.getItem("bbmr-key"));
    $("key-text").textContent = again ? error.message : "It stays in this tab and is forgotten when you close it.";
    $("key-form").hidden = false;
    $("key").focus();
  } else {
    $("problem-title").textContent = error.title;
    $("problem-text").textContent = error.message;
    $("again").hidden = error.kind !== "later";
    $("problem").hidden = false;
  }
  const at = $(error.kind === "key" ? "key-form" : "problem");
  at.scrollIntoView({ block: "nearest" });
}

// What a visitor does

for (const button of document.querySelectorAll("[data-choose]")) button.addEventListener("click", () => $("file").click());
for (const button of document.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", () =>
    attempt(async (ask) => {
      const path = button.dataset.sample;
      const file = await ask.file(path);
      choose(file, path.split("/").pop());
    }),
  );
}
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  if (file) choose(file, file.name);
  $("file").value = "";
});
addEventListener("paste", (event) => {
  const [file] = event.clipboardData?.files ?? [];
  if (file) choose(file, file.name || "pasted.png");
});
let over = 0;
addEventListener("dragenter", (event) => {
  if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
  over += 1;
  $("veil").hidden = false;
});
addEventListener("dragleave", () => {
  over = Math.max(0, over - 1);
  $("veil").hidden = over === 0;
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  over = 0;
  $("veil").hidden = true;
  const [file] = event.dataTransfer.files;
  if (file) choose(file, file.name);
});
$("overlay").addEventListener("click", () => showMap($("map").hidden));
$("zoom-in").addEventListener("click", () => viewer.zoomBy(zoomStep));
$("zoom-out").addEventListener("click", () => viewer.zoomBy(1 / zoomStep));
$("fit").addEventListener("click", () => viewer.fit());
$("actual").addEventListener("click", () => viewer.actual());
$("again").addEventListener("click", run);
$("model").addEventListener("change", run);
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey($("key").value.trim());
  $("key").value = "";
  run();
});
