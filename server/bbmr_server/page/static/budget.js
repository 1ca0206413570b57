// The budget: a slider in, the query of POST /encode out. Other budgets (bytes, say) become another kind here.

const RATES = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 12, 16];
const START = 3;
const PAUSE = 350;

export class Budget {
  /** `changed()` is called once the slider has rested. */
  constructor(slider, output, changed) {
    this.slider = slider;
    this.output = output;
    slider.max = RATES.length - 1;
    slider.value = RATES.indexOf(START);
    slider.addEventListener("input", () => {
      this.show();
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
    const part = rate === 1 ? "every pixel" : `1/${Number((rate * rate).toFixed(2))} of the pixels`;
    this.output.textContent = `${rate} · ${part}`;
    this.slider.setAttribute("aria-valuetext", `${rate}, ${part}`);
  }
}
