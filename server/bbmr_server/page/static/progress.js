// The status line: what is under way, for how many seconds, and the button Cancel.

import { $ } from "./screen.js";

const QUIET_S = 2; // seconds before the elapsed time is shown

let began = 0;
let ticking = null;

/** Shows what begins now, and starts the clock again. */
export function begin(text) {
  stop();
  say(text);
}

/** Shows the next step or the end. Screen readers read only this line, not the seconds beside it. */
export function say(text, busy = text.endsWith("…")) {
  if ($("status").textContent !== text) $("status").textContent = text;
  $("working").hidden = !busy;
  $("cancel").hidden = !busy;
  $("stage").setAttribute("aria-busy", busy);
  if (!busy) stop();
  else if (!ticking) {
    began = performance.now();
    ticking = setInterval(() => beside((seconds) => (seconds < QUIET_S ? "" : `${seconds} s`)), 250);
  }
}

/** Shows that the request is repeated in `left` seconds. */
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
