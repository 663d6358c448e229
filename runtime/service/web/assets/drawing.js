// One stream on a canvas: its waveform above, its spectrogram below, moving with time.

const COLUMNS = 600;
const DELAY_S = 0.8; // News come twice a second: so far behind, the drawing moves without jumps.
const WAVE_SHARE = 0.42;

/** Colours of the page's scheme, as the style sheet has them. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const stops = ["--ramp-0", "--ramp-1", "--ramp-2", "--ramp-3"].map((name) => rgb(colour(name)));
  return { wave: colour("--wave"), gap: colour("--gap"), ramp: ramp(stops) };
}

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** 256 colours between the stops, as pixels. */
function ramp(stops) {
  const pixels = new Uint32Array(256);
  const bytes = new Uint8Array(pixels.buffer);
  for (let level = 0; level < 256; level++) {
    const at = (level / 255) * (stops.length - 1);
    const from = Math.min(Math.floor(at), stops.length - 2);
    for (let i = 0; i < 3; i++) bytes[4 * level + i] = stops[from][i] + (at - from) * (stops[from + 1][i] - stops[from][i]);
    bytes[4 * level + 3] = 255;
  }
  return pixels;
}

export class Drawing {
  constructor(canvas) {
    this.canvas = canvas;
    this.wave = document.createElement("canvas");
    this.image = document.createElement("canvas");
    this.colours = palette();
    this.forget();
  }

  forget() {
    this.end = 0; // Number of the column after the newest one.
    this.columnS = 0;
    this.low = new Float64Array(COLUMNS).fill(NaN);
    this.high = new Float64Array(COLUMNS).fill(NaN);
    this.levels = null;
  }

  /** New columns. Number i lives in place i modulo COLUMNS; what was skipped is empty. */
  add(columns) {
    if (columns.column_s !== this.columnS || columns.first < this.end - COLUMNS) this.forget();
    const { first, low, high, bands } = columns;
    this.columnS = columns.column_s;
    this.topHz = columns.top_hz;
    this.bands = bands;
    this.levels ??= new Uint8Array(COLUMNS * bands);
    const bytes = Uint8Array.from(atob(columns.spectrogram), (letter) => letter.charCodeAt(0));
    const stop = first + low.length;
    for (let number = Math.max(this.end, stop - COLUMNS); number < stop; number++) {
      const place = number % COLUMNS;
      const at = number - first;
      this.low[place] = low[at] ?? NaN;
      this.high[place] = high[at] ?? NaN;
      this.levels.fill(0, place * bands, (place + 1) * bands);
      if (at >= 0) this.levels.set(bytes.subarray(at * bands, (at + 1) * bands), place * bands);
    }
    this.end = Math.max(this.end, stop);
    this.paint();
  }

  /** Lowest and highest sample shown. */
  get range() {
    let low = Infinity;
    let high = -Infinity;
    for (let i = 0; i < COLUMNS; i++) {
      if (this.low[i] < low) low = this.low[i];
      if (this.high[i] > high) high = this.high[i];
    }
    return low <= high ? [low, high] : null;
  }

  /** Paint all columns on two canvases in the background, the newest at the right. */
  paint() {
    if (!this.levels) return;
    const height = Math.max(1, Math.round(this.canvas.height * WAVE_SHARE));
    const step = Math.max(1, Math.ceil(this.canvas.width / COLUMNS));
    Object.assign(this.wave, { width: COLUMNS * step, height });
    Object.assign(this.image, { width: COLUMNS, height: this.bands });
    this.#paintWave(this.wave.getContext("2d"), step, height);
    this.#paintSpectrogram(this.image.getContext("2d"));
  }

  #paintWave(context, step, height) {
    const [low, high] = this.range ?? [0, 1];
    const scale = (height - 4) / (high - low || 1);
    for (let x = 0; x < COLUMNS; x++) {
      const place = (this.end + x) % COLUMNS;
      const empty = Number.isNaN(this.high[place]);
      context.fillStyle = empty ? this.colours.gap : this.colours.wave;
      const top = empty ? 0 : 2 + (high - this.high[place]) * scale;
      const bottom = empty ? height : 2 + (high - this.low[place]) * scale;
      context.fillRect(x * step, top - 0.5, step, Math.max(bottom - top, 1) + 0.5);
    }
  }

  /** Between the levels that one in four and all but one in 300 stay under. */
  #paintSpectrogram(context) {
    const counts = new Uint32Array(256);
    for (const level of this.levels) counts[level]++;
    const total = this.levels.length - counts[0];
    const quantile = (share) => {
      let sum = 0;
      for (let level = 1; level < 256; level++) if ((sum += counts[level]) >= share * total) return level;
      return 255;
    };
    const low = quantile(0.25);
    const span = Math.max(quantile(0.997) - low, 16);
    const picture = context.createImageData(COLUMNS, this.bands);
    const pixels = new Uint32Array(picture.data.buffer);
    for (let x = 0; x < COLUMNS; x++) {
      const from = ((this.end + x) % COLUMNS) * this.bands;
      for (let band = 0; band < this.bands; band++) {
        const level = this.levels[from + band];
        const shade = Math.max(0, Math.min(255, Math.round((255 * (level - low)) / span)));
        if (level) pixels[(this.bands - 1 - band) * COLUMNS + x] = this.colours.ramp[shade];
      }
    }
    context.putImageData(picture, 0, 0);
  }

  /** Show what is painted, moved to where it is at `nowS` in s since 1970. */
  show(nowS) {
    this.#fit();
    const { width, height } = this.canvas;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.fillStyle = this.colours.gap;
    context.fillRect(0, 0, width, height);
    if (!this.levels) return;
    const behind = Math.max(0, (nowS - DELAY_S) / this.columnS - this.end);
    const x = -(behind * width) / COLUMNS;
    const split = this.wave.height;
    context.clearRect(x, 0, width, height);
    context.drawImage(this.wave, x, 0, width, split);
    context.drawImage(this.image, x, split + 1, width, height - split - 1);
  }

  /** As many pixels as the screen has. */
  #fit() {
    const width = Math.round(this.canvas.clientWidth * devicePixelRatio);
    const height = Math.round(this.canvas.clientHeight * devicePixelRatio);
    if (width === this.canvas.width && height === this.canvas.height) return;
    Object.assign(this.canvas, { width, height });
    this.paint();
  }

  recolour() {
    this.colours = palette();
    this.paint();
  }
}
