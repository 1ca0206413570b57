// The parts of the screen: the start, the original, a result with its figures, a problem.

import { drawLegend, drawMap, drawMarks } from "./rate-map.js";
import { Refusal } from "./refusals.js";
import { Viewer, zoomStep } from "./viewer.js";
import { bytes, fill, method, remarks, rows, usedRates, verdict } from "./results.js";

export const $ = (id) => document.getElementById(id);

let mapped = null; // the facts whose rates are drawn over the picture
const viewer = new Viewer($("stage"), (zoom) => {
  $("zoom").textContent = `${Math.round(zoom * 100)} %`;
  drawMarks($("marks"), mapped, viewer);
});
const urls = new Map(); // purpose of a picture → its object URL
let sides = {}; // what the left may show: { original, avif }, each { url, tag, soft }
let side = "original"; // what the visitor wants on the left

const ABOUT_CONTAINERS =
  "Left is what the file shows without any network, right what the network makes of it. There is no original here to measure against.";

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
  for (const part of ["take", "numbers", "keys", "tag-before", "tag-after", "overlay", "left"]) $(part).hidden = true;
  sides = {};
  side = "original";
  mapped = null;
  showMap(false);
  scrollTo({ top: 0 });
}

/** Shows the original of a source, and its settings. */
export function stage({ kind, name, original }) {
  clear();
  const { picture, width, height, tags } = original;
  $("budget").hidden = kind !== "photo" && $("model-row").hidden;
  for (const part of $("budget").querySelectorAll(".row:not(.model), #quality, .ends")) part.hidden = kind !== "photo";
  $("left").hidden = kind !== "photo";
  $("name").textContent = `${name} · ${width} × ${height}`;
  $("tag-before").hidden = false;
  sides.original = { url: address("before", picture), tag: tags[0] };
  viewer.begin(sides.original.url, width, height);
  showSide();
}

/** Shows what the visitor wants on the left: the original, or the AVIF once it is there. */
function showSide() {
  const shown = sides[side] ? side : "original";
  $("left-avif").disabled = !sides.avif;
  $(`left-${shown}`).checked = true;
  $("tag-before").textContent = sides[shown].tag;
  viewer.showBefore(sides[shown].url, sides[shown].soft);
}

/** Shows a result beside the original, with its files and figures; `unlessAborted` as in api.js. */
export async function present(result, rates, unlessAborted) {
  const { source, setting, facts, picture, container } = result;
  viewer.resize(facts.width, facts.height);
  await unlessAborted(viewer.finish(address("after", picture)));
  const quality = source.kind === "photo" ? `quality ${setting.quality}` : "";
  $("tag-after").textContent = [source.original.tags[1], quality].filter(Boolean).join(", ");
  $("tag-after").hidden = false;
  $("keys").hidden = false;
  mapped = facts;
  drawMap($("tint"), facts, rates);
  drawLegend($("legend"), facts, rates);
  viewer.draw();
  $("overlay").hidden = usedRates(facts).length === 1; // the remarks say which rate it is
  if ($("overlay").hidden) showMap(false);
  const stem = stemOf(source);
  const about = [quality, bytes(container.size)].filter(Boolean).join(", ");
  link($("download"), address("container", container), `${stem}.bbmr`, `Download .bbmr (${about})`);
  link($("picture"), urls.get("after"), `${stem}-bbmr.png`);
  $("take").hidden = false;
  figures(result);
  stale(false);
}

/** Shows the figures of a result, or what there is of them, and its AVIF. */
export function figures({ source, setting, facts, made, figures: measured, avif, pending }) {
  const photo = source.kind === "photo";
  const file = avif && address("avif", avif.data);
  sides.avif = avif?.shown && { url: file, tag: `AVIF, ${bytes(avif.data.size)}`, soft: avif.scale > 1 };
  showSide();
  $("verdict").textContent = measured ? verdict(measured) : !photo ? ABOUT_CONTAINERS : pending ? "" : "Not measured.";
  $("table").hidden = !photo;
  fill($("rows"), rows(facts, measured));
  const unseen = avif && !avif.shown ? ["This browser cannot show AVIF files."] : [];
  list($("remarks"), "p", [...remarks(facts, made.model, photo ? source.file.size : 0), ...unseen]);
  $("method").hidden = !measured;
  list($("how"), "li", measured ? method(setting, facts, measured, avif) : []);
  $("avif-file").hidden = !avif;
  if (avif) link($("avif-file"), file, `${stemOf(source)}.avif`, `Save this AVIF (${bytes(avif.data.size)})`);
  $("numbers").hidden = false;
}

const stemOf = ({ name }) => name.replace(/\.[^.]*$/, "") || "photo";

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

function list(parent, tag, texts) {
  parent.replaceChildren(...texts.map((text) => Object.assign(document.createElement(tag), { textContent: text })));
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

for (const radio of document.querySelectorAll("#left input")) {
  radio.addEventListener("change", () => {
    side = radio.value;
    showSide();
  });
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
