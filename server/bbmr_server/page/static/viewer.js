// The pictures on the left (before) and on the right (after), with a movable border, zoom and pan.

const MAX_SCALE = 16;
const STEP = 1.25;

export class Viewer {
  /** `stage` holds #before, #after, #map and #handle. Calls `onZoom(zoom)` with screen pixels per photo pixel. */
  constructor(stage, onZoom) {
    this.stage = stage;
    this.onZoom = onZoom;
    this.before = stage.querySelector("#before");
    this.after = stage.querySelector("#after");
    this.map = stage.querySelector("#map");
    this.handle = stage.querySelector("#handle");
    this.size = [1, 1];
    this.split = 0.5;
    this.scale = 1;
    this.at = [0, 0];
    this.fitted = true;
    this.pointers = new Map();
    new ResizeObserver(() => this.fitted ? this.fit() : this.draw()).observe(stage);
    this.listen();
  }

  /** Shows nothing. */
  clear() {
    for (const layer of [this.before, this.after]) layer.firstElementChild.removeAttribute("src");
    this.handle.hidden = true;
    this.after.hidden = true;
  }

  /** Shows the picture before, of `width`×`height` pixels. */
  begin(url, width, height) {
    this.clear();
    this.resize(width, height);
    this.before.firstElementChild.src = url;
    this.split = 0.5;
    this.fit();
  }

  /** Replaces the picture before by one of the same photo. `soft`: it has fewer pixels, and is shown smoothly. */
  showBefore(url, soft = false) {
    const image = this.before.firstElementChild;
    if (image.src !== url) image.src = url;
    image.classList.toggle("soft", soft);
  }

  /** Shows the picture after, and the border. */
  async finish(url) {
    const image = this.after.firstElementChild;
    image.src = url;
    await image.decode();
    this.after.hidden = false;
    this.handle.hidden = false;
    this.draw();
  }

  resize(width, height) {
    if (this.size[0] === width && this.size[1] === height) return;
    this.size = [width, height];
    this.stage.style.aspectRatio = `${width} / ${height}`;
    for (const layer of [this.before, this.after]) {
      layer.firstElementChild.width = width;
      layer.firstElementChild.height = height;
    }
  }

  fit() {
    const { clientWidth: wide, clientHeight: high } = this.stage;
    this.scale = Math.min(wide / this.size[0], high / this.size[1]) || 1;
    this.fitted = true;
    this.draw();
  }

  actual() {
    this.zoomTo(1 / devicePixelRatio);
  }

  zoomBy(factor, x, y) {
    this.zoomTo(this.scale * factor, x, y);
  }

  /** `x`, `y`: the point of the stage that stays in place; by default its middle. */
  zoomTo(scale, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const smallest = Math.min(this.smallest(), 1 / devicePixelRatio);
    const next = Math.min(MAX_SCALE, Math.max(smallest, scale));
    const ratio = next / this.scale;
    this.at = [x - (x - this.at[0]) * ratio, y - (y - this.at[1]) * ratio];
    this.scale = next;
    this.fitted = Math.abs(next - this.smallest()) < 1e-6;
    this.draw();
  }

  panBy(dx, dy) {
    this.at = [this.at[0] + dx, this.at[1] + dy];
    this.draw();
  }

  moveTo(split) {
    this.split = Math.min(1, Math.max(0, split));
    this.draw();
  }

  /** Whether the whole picture is in view. Then dragging and arrow keys move the border instead of panning. */
  get whole() {
    const { clientWidth: wide, clientHeight: high } = this.stage;
    return this.size[0] * this.scale <= wide + 0.5 && this.size[1] * this.scale <= high + 0.5;
  }

  smallest() {
    return Math.min(this.stage.clientWidth / this.size[0], this.stage.clientHeight / this.size[1]) || 1;
  }

  draw() {
    const room = [this.stage.clientWidth, this.stage.clientHeight];
    this.at = this.at.map((at, axis) => {
      const spare = room[axis] - this.size[axis] * this.scale;
      return spare >= 0 ? spare / 2 : Math.min(0, Math.max(spare, at));
    });
    const transform = `translate(${this.at[0]}px, ${this.at[1]}px) scale(${this.scale})`;
    for (const layer of [this.before, this.after, this.map]) layer.firstElementChild.style.transform = transform;
    const x = this.split * room[0];
    const shown = !this.handle.hidden;
    this.after.style.clipPath = shown ? `inset(0 0 0 ${x}px)` : "none";
    this.before.style.clipPath = shown ? `inset(0 ${room[0] - x}px 0 0)` : "none";
    this.handle.style.transform = `translateX(${x}px)`;
    const percent = Math.round(this.split * 100);
    this.handle.setAttribute("aria-valuenow", percent);
    this.handle.setAttribute("aria-valuetext", `${percent} % before, ${100 - percent} % after`);
    this.stage.classList.toggle("whole", this.whole);
    this.stage.classList.toggle("close", this.scale * devicePixelRatio >= 3);
    this.onZoom(this.scale * devicePixelRatio);
  }

  listen() {
    const { stage, handle } = this;
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => this.up(event));
    stage.addEventListener("dragstart", (event) => event.preventDefault());
    stage.addEventListener("keydown", (event) => this.stageKey(event));
    handle.addEventListener("keydown", (event) => this.handleKey(event));
  }

  wheel(event) {
    const out = event.deltaY > 0;
    if (out && this.scale <= this.smallest() * 1.0001 && !event.ctrlKey) return; // the page scrolls on
    event.preventDefault();
    const [x, y] = this.point(event);
    this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.04 : 0.002)), x, y);
  }

  point(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left - this.stage.clientLeft, event.clientY - box.top - this.stage.clientTop];
  }

  down(event) {
    if (event.button) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.point(event));
    this.splitting = !this.handle.hidden && (this.whole || this.handle.contains(event.target));
    if (this.splitting && this.pointers.size === 1) this.moveTo(this.point(event)[0] / this.stage.clientWidth);
  }

  move(event) {
    const was = this.pointers.get(event.pointerId);
    if (!was) return;
    const now = this.point(event);
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const apart = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
      this.panBy((now[0] - was[0]) / 2, (now[1] - was[1]) / 2);
      this.zoomBy(apart(now) / apart(was), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else if (this.splitting) this.moveTo(now[0] / this.stage.clientWidth);
    else this.panBy(now[0] - was[0], now[1] - was[1]);
    this.pointers.set(event.pointerId, now);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (this.pointers.size === 1) this.splitting = false; // the finger that remains after a pinch pans
  }

  stageKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const pan = { ArrowLeft: [48, 0], ArrowRight: [-48, 0], ArrowUp: [0, 48], ArrowDown: [0, -48] }[event.key];
    if (pan && this.whole) {
      if (pan[0] && !this.handle.hidden) this.handleKey(event);
      return; // up and down scroll the page
    }
    if (pan) this.panBy(...pan);
    else if (event.key === "+" || event.key === "=") this.zoomBy(STEP);
    else if (event.key === "-") this.zoomBy(1 / STEP);
    else if (event.key === "0") this.fit();
    else if (event.key === "1") this.actual();
    else return;
    event.preventDefault();
  }

  handleKey(event) {
    const step = event.shiftKey ? 0.1 : 0.02;
    const steps = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step, PageUp: 0.1, PageDown: -0.1 };
    if (event.key in steps) this.moveTo(this.split + steps[event.key]);
    else if (event.key === "Home") this.moveTo(0);
    else if (event.key === "End") this.moveTo(1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

export const zoomStep = STEP;
