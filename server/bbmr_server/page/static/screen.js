// The parts of the screen: the start, the original, a result with its figures, a problem.

import { drawLegend, drawMap, drawMarks } from "./rate-map.js";
import { Refusal } from "./refusals.js";
import { Viewer, zoomStep } from "./viewer.js";
import { bytes, fill } from "./results.js";

export const $ = (id) => document.getElementById(id);

let mapped = null; // the facts whose rates are drawn over the picture
const viewer = new Viewer($("stage"), (zoom) => {
  $("zoom").textContent = `${Math.round(zoom * 100)} %`;
  drawMarks($("marks"), mapped, viewer);
});
const urls = new Map(); // purpose of a picture → its object URL

export function showStart() {
  $("welcome").hidden = false;
  leave($("work"));
}

/** Hides a part of the page. If it has the focus, the focus moves to the picture or the start. */
function leave(part) {
  const inside = part.contains(document.activeElement);
  part.hidden = true;
  if (inside) focusMain();
}

export function focusMain() {
  ($("work").hidden ? document.querySelector("#welcome [data-choose]") : $("stage")).focus({ preventScroll: true });
}

/** Marks figures and files as out of date while something new is under way. */
export function stale(on) {
  for (const part of ["numbers", "take"]) {
    $(part).classList.toggle("stale", on);
    $(part).setAttribute("aria-busy", on);
  }
}

/** Shows the empty work area. */
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

/** Shows the original of a source, and its settings. */
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

/** Shows a result beside the original, with its files and figures; `unlessAborted` as in api.js. */
export async function present({ source, setting, facts, picture, container, rows, words }, rates, unlessAborted) {
  viewer.resize(facts.width, facts.height);
  await unlessAborted(viewer.finish(address("after", picture)));
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

/** Shows the rows of the table and the sentences about them; `words` is null until they are measured. */
export function figures(rows, words) {
  fill($("rows"), rows);
  $("numbers").hidden = false;
  paragraphs(words ?? []);
}

/** Shows a refusal, or an error of this page, about the file `name`; `shown`: that file is on the screen. */
export function showProblem(error, name = "", shown = false) {
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

export function hideProblem() {
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
$("dismiss").addEventListener("click", hideProblem);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("problem").hidden) hideProblem();
});
$("zoom-in").addEventListener("click", () => viewer.zoomBy(zoomStep));
$("zoom-out").addEventListener("click", () => viewer.zoomBy(1 / zoomStep));
$("fit").addEventListener("click", () => viewer.fit());
$("actual").addEventListener("click", () => viewer.actual());
