// The file that a visitor chooses, drops or pastes, and first checks of it.

import { Refusal } from "./refusals.js";
import { bytes } from "./results.js";

const SIGNATURE = [0x8b, 0x42, 0x42, 0x4d]; // of a container

/** Returns "photo" or "container" by the first bytes. Throws a `Refusal` if the file is clearly neither. */
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

/** Throws a `Refusal` if the file has more bytes than the server takes. */
export function checkSize(file, name, limits) {
  if (file.size <= limits.max_body_bytes) return;
  throw new Refusal("This file is too large", `${name} has ${bytes(file.size)}; this server takes at most ${bytes(limits.max_body_bytes)}.`);
}

/** Calls `choose(file, name)` for every file. `input` is the file input, `veil` the drop overlay. */
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
