// What is on the screen: the start, a photo and its original, a result with its figures, a refusal.

import { drawLegend, drawMap } from "./rates.js";
import { Refusal } from "./refusals.js";
import { Viewer, zoomStep } from "./viewer.js";
import { bytes, fill } from "./words.js";

export const $ = (id) => document.getElementById(id);

const viewer = new Viewer($("stage"), (zoom) => ($("zoom").textContent = `${Math.round(zoom * 100)} %`));
const urls = new Map(); // what a picture is for → its address in this page

export function welcome() {
  $("work").hidden = true;
  $("welcome").hidden = false;
}

/** Room for a photo, and nothing in it yet. */
export function clear() {
  $("welcome").hidden = true;
  $("work").hidden = false;
  $("budget").hidden = true;
  $("name").textContent = "";
  viewer.clear();
  for (const part of ["take", "numbers", "keys", "tag-before", "tag-after"]) $(part).hidden = true;
  paragraphs([]);
  showMap(false);
  $("overlay").disabled = true;
  scrollTo({ top: 0 });
}

/** The original of a source, and what it can be set to. */
export function stage({ kind, name, original }) {
  clear();
  const { picture, width, height, tags } = original;
  $("budget").hidden = kind !== "photo" && $("model-row").hidden;
  for (const part of $("budget").querySelectorAll(".row:not(.model), #rate, .ends")) part.hidden = kind !== "photo";
  $("name").textContent = `${name} · ${width} × ${height}`;
  [$("tag-before").textContent, $("tag-after").textContent] = tags;
  $("tag-before").hidden = false;
  viewer.begin(address("before", picture), width, height);
}

/** A result beside the original, its files and its figures; `still` as in api.js. */
export async function present({ source, facts, picture, container, rows, words }, rates, still) {
  viewer.resize(facts.width, facts.height);
  await still(viewer.finish(address("after", picture)));
  $("tag-after").hidden = false;
  $("keys").hidden = false;
  drawMap($("map"), facts, rates);
  drawLegend($("legend"), facts, rates);
  viewer.draw();
  $("overlay").disabled = false;
  const stem = source.name.replace(/\.[^.]*$/, "") || "photo";
  link($("download"), address("container", container), `${stem}.bbmr`, `Download .bbmr (${bytes(container.size)})`);
  link($("picture"), urls.get("after"), `${stem}-bbmr.png`);
  $("take").hidden = false;
  figures(rows, words);
}

/** Rows of the table, and what they say; no words as long as nothing is measured. */
export function figures(rows, words) {
  fill($("rows"), rows);
  $("numbers").hidden = false;
  paragraphs(words ?? []);
}

export function say(text, busy = text.endsWith("…")) {
  $("status").textContent = text;
  $("working").hidden = !busy;
  $("stage").setAttribute("aria-busy", busy);
}

/** A refusal, or an error of this page, above all else; `name` of the file that it is about. */
export function tell(error, name) {
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
    $("problem-text").textContent = name && !error.message.includes(name) ? `${name}: ${error.message}` : error.message;
    $("again").hidden = error.kind !== "later";
    $("problem").hidden = false;
  }
  $(error.kind === "key" ? "key-form" : "problem").scrollIntoView({ block: "nearest" });
}

export function untell() {
  $("problem").hidden = true;
  $("key-form").hidden = true;
}

function paragraphs(texts) {
  $("verdict").replaceChildren(...texts.map((text) => Object.assign(document.createElement("p"), { textContent: text })));
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

$("overlay").addEventListener("click", () => showMap($("map").hidden));
$("zoom-in").addEventListener("click", () => viewer.zoomBy(zoomStep));
$("zoom-out").addEventListener("click", () => viewer.zoomBy(1 / zoomStep));
$("fit").addEventListener("click", () => viewer.fit());
$("actual").addEventListener("click", () => viewer.actual());
