// The file that a visitor chooses, drops or pastes; and whether it is one for this page.

import { Refusal } from "./refusals.js";
import { bytes } from "./words.js";

const SIGNATURE = [0x8b, 0x42, 0x42, 0x4d]; // of a container

/** "photo" or "container". Throws a `Refusal` of what is neither at first sight. */
export async function kindOf(file, name) {
  let start;
  try {
    start = new Uint8Array(await file.slice(0, SIGNATURE.length).arrayBuffer());
  } catch {
    throw new Refusal("This cannot be read", `${name} is a folder, or was moved or deleted. Choose a file.`);
  }
  if (file.size === 0) throw new Refusal("This file is empty", `${name} has 0 bytes.`);
  if (name.toLowerCase().endsWith(".bbmr") || SIGNATURE.every((byte, at) => start[at] === byte)) return "container";
  if (file.type && file.type !== "application/octet-stream" && !file.type.startsWith("image/")) {
    throw new Refusal("This is no photo", `${name} is of the type ${file.type}. Choose a JPEG, PNG, WebP, AVIF, HEIC or TIFF file, or a .bbmr.`);
  }
  return "photo";
}

/** Throws a `Refusal` of a file with more bytes than the server takes. */
export function checkSize(file, name, limits) {
  if (file.size <= limits.max_body_bytes) return;
  throw new Refusal("This file is too large", `${name} has ${bytes(file.size)}; this server takes at most ${bytes(limits.max_body_bytes)}.`);
}

/** `choose(file, name)` hears of every file; `input` is the page's own, `veil` shows where a file may be dropped. */
export function listen(input, veil, choose) {
  for (const button of document.querySelectorAll("[data-choose]")) button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files;
    if (file) choose(file, file.name);
    input.value = "";
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (file) choose(file, file.name || "pasted.png");
  });
  let over = 0;
  addEventListener("dragenter", (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    over += 1;
    veil.hidden = false;
  });
  addEventListener("dragleave", () => {
    over = Math.max(0, over - 1);
    veil.hidden = over === 0;
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    over = 0;
    veil.hidden = true;
    const [file] = event.dataTransfer.files;
    if (file) choose(file, file.name);
  });
}
