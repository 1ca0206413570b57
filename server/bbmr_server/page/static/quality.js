// The slider: a quality from 0 to 100, and the bytes that it takes.

import { bytes } from "./results.js";

const PAUSE = 350;

export class Quality {
  /** Calls `moved()` as soon as the slider moves, `changed()` once it rests for PAUSE milliseconds. */
  constructor(slider, output, moved, changed) {
    this.slider = slider;
    this.output = output;
    slider.addEventListener("input", () => {
      this.show();
      moved();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        this.timer = null;
        changed();
      }, PAUSE);
    });
    this.show();
  }

  get query() {
    return { quality: Number(this.slider.value) };
  }

  /** Moves the slider to the quality of a setting. */
  set({ quality }) {
    clearTimeout(this.timer);
    this.timer = null;
    this.slider.value = quality;
    this.show();
  }

  /** As `set`, but not while the visitor moves the slider. */
  goBack(setting) {
    if (!this.timer) this.set(setting);
  }

  /** Shows how many bytes a setting has led to, if the slider is still there. */
  showSize({ quality }, size) {
    if (quality === this.query.quality) this.show(bytes(size));
  }

  show(size = "") {
    const parts = [this.slider.value, size].filter(Boolean);
    this.output.textContent = parts.join(" · ");
    this.slider.setAttribute("aria-valuetext", parts.join(", "));
  }
}
