// The page: sends the chosen file to the server, and shows each part of the answer as it arrives.

import { earlyLimits, keepKey, server } from "./api.js";
import { checkSize, kindOf, listen } from "./file-input.js";
import { begin, say, wait } from "./progress.js";
import { Quality } from "./quality.js";
import { Refusal, waiting } from "./refusals.js";
import { $, clear, figures, focusMain, present, stage, stale, showProblem, hideProblem, showStart } from "./screen.js";
import { bytes, pixels, summary } from "./results.js";

const KEPT = 6; // results of one photo, so that a quality that was shown before is shown again at once
const slider = new Quality($("quality"), $("quality-value"), () => stale(true), () => wanted?.kind === "photo" && run());
let limits = null;
const early = earlyLimits().then((found) => found && learn(found)); // so that the first file can be checked at once
let listed = false; // whether the list of networks has been filled
let latest = null; // the file that was chosen last
let wanted = null; // the source that is worked on: { kind, file, name, results, original (once it is shown) }
let staged = null; // the source whose original is on the screen
let shown = null; // the last result: { source, setting, facts, container, picture, made, status, avif, figures }
let task = null; // the AbortController of the running work
let again = null; // repeats what was refused

/** Takes a file. A file that is refused by its first bytes or its size does not stop running work. */
async function choose(file, name) {
  latest = file;
  let kind;
  try {
    kind = await kindOf(file, name);
    if (limits) checkSize(file, name, limits);
  } catch (error) {
    if (latest === file) showProblem(error);
    return;
  }
  if (latest !== file) return;
  if (!staged) clear();
  await run({ kind, file, name, results: new Map() });
}

/** Works on a source: a new one, one with another setting, or one that was refused before. */
function run(source = wanted, setting = current()) {
  wanted = source;
  slider.set(setting);
  chooseModel(setting);
  stale(true);
  return attempt(
    async (ask) => {
      await ask.unlessAborted(early);
      if (!limits) learn(await ask.limits());
      checkSize(source.file, source.name, limits);
      await listModels(ask);
      Object.assign(setting, { ...current(), ...setting }); // adds the chosen network, now that they are listed
      await (source.kind === "photo" ? work : look)(ask, source, setting);
    },
    () => run(source, setting),
    source.name,
  );
}

function learn(found) {
  limits = found;
  $("version").textContent = limits.version;
}

const current = () => ({ ...slider.query, ...($("model").value ? { model: $("model").value } : {}) });

// A photo

const STEPS = {
  waiting: () => "The server is busy with other photos …",
  encoding: ({ quality }) => `Encoding at quality ${quality} …`,
  restoring: () => "Restoring …",
};

async function work(ask, source, setting) {
  if (staged !== source) await showOriginal(ask, source);
  const key = JSON.stringify(setting);
  const known = source.results.get(key);
  const result = known ?? (await compare(ask, source, setting));
  source.results.delete(key); // the newest is the last
  source.results.set(key, result);
  if (source.results.size > KEPT) source.results.delete(source.results.keys().next().value);
  if (known) await show(ask, known);
  say(result.status);
}

/** Has the server do everything for one quality, and shows what there is as soon as it is there. */
async function compare(ask, source, setting) {
  const result = { source, setting, avif: null, figures: null, pending: true };
  say(STEPS.encoding(setting));
  for await (const part of ask.compare(source.file, setting)) {
    if (part.part === "step" && !result.picture) say(STEPS[part.step](setting));
    else if (part.part === "container") {
      Object.assign(result, { facts: part.facts, container: part.data });
      slider.showSize(setting, part.data.size);
    } else if (part.part === "picture") {
      result.picture = part.data;
      result.made = { model: part.model, seconds: part.seconds.network };
      result.status = summary(result.facts, result.made);
      await show(ask, result);
      say(`${result.status} Measuring …`, true);
    } else if (part.part === "avif") {
      result.avif = { ...part, shown: (await ask.unlessAborted(sizeOf(part.data))) !== null };
    } else if (part.part === "figures") result.figures = part;
  }
  result.pending = false;
  figures(result);
  return result;
}

/** The photo as the browser shows it, or as the server does where the browser cannot. */
async function showOriginal(ask, source) {
  let picture = source.file;
  let size = await ask.unlessAborted(sizeOf(picture));
  if (!size) {
    say("The browser does not know this format; the server makes a picture of it …");
    picture = await ask.photo(source.file);
    size = (await ask.unlessAborted(sizeOf(picture))) ?? [1, 1];
  }
  const [width, height] = size;
  if (width * height > limits.max_photo_pixels) {
    throw new Refusal("This photo is too large", `It has ${pixels(width * height)}; this server takes at most ${pixels(limits.max_photo_pixels)}.`);
  }
  showStage(source, { picture, width, height, tags: ["Original", "bbmr"] });
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

// A container

async function look(ask, source, setting) {
  const container = source.file;
  say("Reading the container …");
  const facts = await ask.facts(container);
  const { width, height } = facts;
  if (staged !== source) {
    const { picture } = await ask.reconstruct(container, { max_side: Math.max(width, height) });
    showStage(source, { picture, width, height, tags: ["Without the network", "With it"] });
  }
  say("Restoring …");
  const made = await ask.reconstruct(container, networkOf(setting));
  const result = { source, setting, facts, container, picture: made.picture, made, status: summary(facts, made) };
  await show(ask, result);
  say(result.status);
}

// What is shown

function showStage(source, original) {
  source.original = original;
  stage(source);
  staged = source;
}

async function show(ask, result) {
  await present(result, limits.rates, ask.unlessAborted);
  slider.showSize(result.setting, result.container.size);
  shown = result;
}

/**
 * Shows the last result with its setting again, or the start if there is none. For refusals and for the button Cancel.
 * `kind`: "cancel", or that of the refusal. A photo that is on the screen stays there unless it caused the refusal.
 */
async function goBack(ask, kind) {
  say("");
  stale(false);
  if (kind === "later" && wanted === staged && shown?.source !== staged) shown = null;
  if (shown) {
    wanted = shown.source;
    if (kind === "cancel") slider.set(shown.setting);
    else slider.goBack(shown.setting);
    slider.showSize(shown.setting, shown.container.size);
    chooseModel(shown.setting);
    shown.pending = false;
    say(shown.status);
    const away = staged !== wanted;
    if (away) showStage(wanted, wanted.original);
    // The cancelled work may already have replaced the picture.
    if (away || kind === "cancel") await present(shown, limits.rates, ask.unlessAborted);
    else figures(shown);
  } else if (wanted !== staged || !staged || kind === "problem" || kind === "cancel") {
    wanted = staged = null;
    showStart();
  }
}

// Networks

const networkOf = ({ model }) => (model ? { model } : {});

function chooseModel({ model }) {
  if (model) $("model").value = model;
}

async function listModels(ask) {
  if (listed) return;
  const { models, default: first } = await ask.models();
  listed = true;
  if (models.length < 2) return;
  for (const { name } of models) $("model").add(new Option(name, name, name === first, name === first));
  $("model-row").hidden = false;
}

// Running one piece of work at a time

async function attempt(doing, retry, name) {
  task?.abort();
  const own = (task = new AbortController());
  again = retry;
  hideProblem();
  begin("Reading the file …");
  const ask = server(own.signal, (seconds, left, slug) => wait(waiting(left && seconds, slug), left));
  try {
    await doing(ask);
  } catch (error) {
    if (error.name === "AbortError" || own !== task) return;
    const seen = wanted === shown?.source;
    goBack(ask, error.kind).catch((late) => own === task && showProblem(late));
    showProblem(error, name, seen);
  }
}

function cancel() {
  task?.abort();
  const own = (task = new AbortController());
  const ask = server(own.signal, () => {});
  goBack(ask, "cancel").catch((late) => own === task && showProblem(late));
  focusMain();
}

// Events

function takeSample(path) {
  const name = path.split("/").pop();
  return attempt(async (ask) => choose(await ask.file(path), name), () => takeSample(path), name);
}

listen($("file"), $("veil"), choose);
for (const button of document.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", () => takeSample(button.dataset.sample));
}
$("again").addEventListener("click", () => again());
$("cancel").addEventListener("click", cancel);
$("model").addEventListener("change", () => wanted && run());
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey($("key").value.trim());
  $("key").value = "";
  again();
});
