// The budget: turns the position of a slider into the query of POST /encode.

const RATES = [16, 12, 8, 6, 5, 4, 3, 2.5, 2, 1.5, 1]; // the right end keeps most pixels
const START = 3;
const PAUSE = 350;

export class Budget {
  /** Calls `moved()` as soon as the slider moves, `changed()` once it rests for PAUSE milliseconds. */
  constructor(slider, output, moved, changed) {
    this.slider = slider;
    this.output = output;
    slider.max = RATES.length - 1;
    slider.value = RATES.indexOf(START);
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
    return { rate: RATES[this.slider.value] };
  }

  /** Moves the slider to the setting of a query. */
  set({ rate }) {
    clearTimeout(this.timer);
    this.timer = null;
    this.slider.value = RATES.indexOf(rate);
    this.show();
  }

  /** As `set`, but not while the visitor moves the slider. */
  goBack(query) {
    if (!this.timer) this.set(query);
  }

  show() {
    const { rate } = this.query;
    const part = rate === 1 ? "all" : `1 in ${Number((rate * rate).toFixed(2))}`;
    this.output.textContent = `${part} · rate ${rate}`;
    this.slider.setAttribute("aria-valuetext", `${part}, rate ${rate}`);
  }
}
