// What is under way: the line that says it, for how long it has been so, and the way out of it.

import { $ } from "./screen.js";

const PATIENCE = 2; // seconds that need no explaining

let began = 0;
let ticking = null;

/** Say what is under way from now on; the clock starts again. */
export function begin(text) {
  stop();
  say(text);
}

/** Say how it goes on, or how it ended. Only this is read aloud: what changes by the second is beside it. */
export function say(text, busy = text.endsWith("…")) {
  if ($("status").textContent !== text) $("status").textContent = text;
  $("working").hidden = !busy;
  $("cancel").hidden = !busy;
  $("stage").setAttribute("aria-busy", busy);
  if (!busy) stop();
  else if (!ticking) {
    began = performance.now();
    ticking = setInterval(() => beside((seconds) => (seconds < PATIENCE ? "" : `${seconds} s`)), 250);
  }
}

/** Say that the server is asked again in a while, of which `left` seconds are left. */
export function wait(text, left) {
  stop();
  say(text, true);
  if (!left) return;
  stop();
  beside(() => `${left} s left`);
}

function stop() {
  clearInterval(ticking);
  ticking = null;
  beside(() => "");
}

function beside(text) {
  $("elapsed").textContent = text(Math.floor((performance.now() - began) / 1000));
}
