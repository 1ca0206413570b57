// What is on the screen: the start, a photo and its original, a result with its figures, a refusal.

import { drawLegend, drawMap, drawMarks } from "./rates.js";
import { Refusal } from "./refusals.js";
import { Viewer, zoomStep } from "./viewer.js";
import { bytes, fill } from "./words.js";

export const $ = (id) => document.getElementById(id);

let mapped = null; // the facts whose rates are drawn over the picture
const viewer = new Viewer($("stage"), (zoom) => {
  $("zoom").textContent = `${Math.round(zoom * 100)} %`;
  drawMarks($("marks"), mapped, viewer);
});
const urls = new Map(); // what a picture is for → its address in this page

export function welcome() {
  $("welcome").hidden = false;
  leave($("work"));
}

/** Hide a part of the page. Who was in it with the keyboard goes on at the picture, or at the start. */
function leave(part) {
  const inside = part.contains(document.activeElement);
  part.hidden = true;
  if (inside) focusMain();
}

export function focusMain() {
  ($("work").hidden ? document.querySelector("#welcome [data-choose]") : $("stage")).focus({ preventScroll: true });
}

/** Whether figures and files are those of before: something new is under way. */
export function stale(on) {
  for (const part of ["numbers", "take"]) {
    $(part).classList.toggle("stale", on);
    $(part).setAttribute("aria-busy", on);
  }
}

/** Room for a photo, and nothing in it yet. */
export function clear() {
  $("work").hidden = false;
  leave($("welcome"));
  $("budget").hidden = true;
  $("name").textContent = "";
  viewer.clear();
  for (const part of ["take", "numbers", "keys", "tag-before", "tag-after"]) $(part).hidden = true;
  paragraphs([]);
  mapped = null;
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
export async function present({ source, setting, facts, picture, container, rows, words }, rates, still) {
  viewer.resize(facts.width, facts.height);
  await still(viewer.finish(address("after", picture)));
  const rate = source.kind === "photo" ? `rate ${setting.rate}` : "";
  $("tag-after").textContent = [source.original.tags[1], rate].filter(Boolean).join(", ");
  $("tag-after").hidden = false;
  $("keys").hidden = false;
  mapped = facts;
  drawMap($("tint"), facts, rates);
  drawLegend($("legend"), facts, rates);
  viewer.draw();
  $("overlay").disabled = false;
  const stem = source.name.replace(/\.[^.]*$/, "") || "photo";
  const about = [rate, bytes(container.size)].filter(Boolean).join(", ");
  link($("download"), address("container", container), `${stem}.bbmr`, `Download .bbmr (${about})`);
  link($("picture"), urls.get("after"), `${stem}-bbmr.png`);
  $("take").hidden = false;
  figures(rows, words);
  stale(false);
}

/** Rows of the table, and what they say; no words as long as nothing is measured. */
export function figures(rows, words) {
  fill($("rows"), rows);
  $("numbers").hidden = false;
  paragraphs(words ?? []);
}

/** A refusal, or an error of this page, above all else, about the file `name`; `shown`: that file is on the screen. */
export function tell(error, name = "", shown = false) {
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
    const named = name && !shown && error.kind === "problem" && !error.message.includes(name);
    $("problem-text").textContent = named ? `${name}: ${error.message}` : error.message;
    $("again").hidden = error.kind !== "later";
    $("again").textContent = name ? `Try again with ${name}` : "Try again";
    $("problem").hidden = false;
  }
  $(error.kind === "key" ? "key-form" : "problem").scrollIntoView({ block: "nearest" });
}

export function untell() {
  leave($("problem"));
  leave($("key-form"));
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
  drawMarks($("marks"), mapped, viewer);
  $("legend").hidden = !on;
  $("stage").classList.toggle("mapped", on);
  $("overlay").setAttribute("aria-pressed", on);
}

$("overlay").addEventListener("click", () => showMap($("map").hidden));
$("dismiss").addEventListener("click", untell);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("problem").hidden) untell();
});
$("zoom-in").addEventListener("click", () => viewer.zoomBy(zoomStep));
$("zoom-out").addEventListener("click", () => viewer.zoomBy(1 / zoomStep));
$("fit").addEventListener("click", () => viewer.fit());
$("actual").addEventListener("click", () => viewer.actual());
