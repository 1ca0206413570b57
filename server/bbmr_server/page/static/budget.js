// The budget: a slider in, the query of POST /encode out. Other budgets (bytes, say) become another kind here.

const RATES = [16, 12, 8, 6, 5, 4, 3, 2.5, 2, 1.5, 1]; // to the right more is kept
const START = 3;
const PAUSE = 350;

export class Budget {
  /** `moved()` is called as soon as the slider moves, `changed()` once it has rested. */
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

  /** The slider at the setting of a query. */
  set({ rate }) {
    clearTimeout(this.timer);
    this.timer = null;
    this.slider.value = RATES.indexOf(rate);
    this.show();
  }

  /** As `set`, but not under the hand of a visitor who moves it. */
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
