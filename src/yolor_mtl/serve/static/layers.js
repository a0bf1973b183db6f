// Layers over the picture: worked out once an answer, put together at every change.

import { colour, css, ink } from "./colours.js";
import { paintMask } from "./rle.js";

const MOST = 1400; // Longer side of the worked-out layers: a phone does not hold many of twelve megapixels.

/** The layers of one answer. */
export class Layers {
  /** @param {object} answer as POST /predict gives it */
  static async of(answer) {
    const layers = new Layers(answer);
    await Promise.all([layers.#semantic(), layers.#panoptic()]);
    return layers;
  }

  constructor(answer) {
    this.answer = answer;
    this.detections = answer.detections ?? [];
    const scale = Math.min(1, MOST / Math.max(answer.width, answer.height));
    this.width = Math.max(1, Math.round(answer.width * scale));
    this.height = Math.max(1, Math.round(answer.height * scale));
    /** Object at each pixel plus one; 0 where there is none. The best lies on top. */
    this.labels = new Uint16Array(this.width * this.height);
    this.detections.forEach((_, index) => {
      const place = this.detections.length - 1 - index;
      if (this.detections[place].mask) {
        paintMask(this.labels, this.width, this.height, this.detections[place].mask, place + 1);
      }
    });
    this.masks = this.detections.some((detection) => detection.mask)
      ? this.#painted(this.labels, (label) => colour(label - 1))
      : null;
  }

  /** Which of the four there are. */
  get present() {
    return {
      boxes: this.answer.detections != null,
      masks: this.answer.detections != null && (this.masks != null || !this.detections.length),
      semantic: this.semantic != null,
      panoptic: this.panoptic != null,
    };
  }

  async #semantic() {
    if (!this.answer.semantic) return;
    // The PNG's palette has the colours of the classes.
    this.semantic = await this.#scaled(this.answer.semantic.png);
    this.classAt = new Map(
      Object.entries(this.answer.semantic.names).map(([index, name]) => [colour(Number(index)).join(), name]),
    );
  }

  async #panoptic() {
    if (!this.answer.panoptic) return;
    const ids = pixels(await this.#scaled(this.answer.panoptic.png)).data;
    const tints = new Map(
      this.answer.panoptic.segments.map((segment) => [
        segment.id,
        colour(segment.isthing ? segment.id - 1 : segment.class_id),
      ]),
    );
    const labels = new Uint32Array(this.width * this.height);
    for (let at = 0; at < labels.length; at++) labels[at] = ids[4 * at] + 256 * ids[4 * at + 1] + 65536 * ids[4 * at + 2];
    this.panoptic = this.#painted(labels, (id) => tints.get(id));
  }

  async #scaled(source) {
    const image = new Image();
    image.src = source;
    await image.decode();
    const canvas = blank(this.width, this.height);
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.imageSmoothingEnabled = false; // Values, not shades.
    pen.drawImage(image, 0, 0, this.width, this.height);
    return canvas;
  }

  /** A canvas of tinted regions, their edges in full colour. */
  #painted(labels, tintOf) {
    const { width, height } = this;
    const canvas = blank(width, height);
    const image = canvas.getContext("2d").createImageData(width, height);
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const label = labels[at];
        const tint = label ? tintOf(label) : undefined;
        if (!tint) continue;
        const edge =
          (x > 0 && labels[at - 1] !== label) ||
          (x < width - 1 && labels[at + 1] !== label) ||
          (y > 0 && labels[at - width] !== label) ||
          (y < height - 1 && labels[at + width] !== label);
        image.data.set([...tint, edge ? 255 : 170], 4 * at);
      }
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  /** Names of what lies at a place of the picture, given as shares of its width and height. */
  namesAt(x, y) {
    const column = Math.min(this.width - 1, Math.max(0, Math.floor(x * this.width)));
    const row = Math.min(this.height - 1, Math.max(0, Math.floor(y * this.height)));
    const names = [];
    const label = this.labels[row * this.width + column];
    if (label) names.push(this.detections[label - 1].class);
    if (this.semantic) {
      const [red, green, blue] = this.semantic.getContext("2d").getImageData(column, row, 1, 1).data;
      const name = this.classAt.get([red, green, blue].join());
      if (name && name !== names[0]) names.push(name);
    }
    return names;
  }

  /**
   * Draws what is switched on.
   * @param {HTMLCanvasElement} canvas
   * @param {{boxes: boolean, masks: boolean, semantic: boolean, panoptic: boolean}} on
   * @param {number} strength 0..1
   * @param {{object: number} | {word: object} | null} focus what alone is to be seen
   */
  draw(canvas, on, strength, focus) {
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (focus) {
      this.#spotlight(pen, focus);
      return;
    }
    pen.imageSmoothingEnabled = canvas.width < this.width * 2;
    for (const name of ["semantic", "panoptic", "masks"]) {
      if (!on[name] || !this[name]) continue;
      // Regions are tinted already; the map of classes covers everything and is not.
      pen.globalAlpha = name === "semantic" ? strength : Math.min(1, strength * 1.5);
      pen.drawImage(this[name], 0, 0, canvas.width, canvas.height);
    }
    pen.globalAlpha = 1;
    if (on.boxes) this.#boxes(pen, [...this.detections.keys()]);
  }

  /** Everything dark but one object, or what one word is about. */
  #spotlight(pen, focus) {
    const { width, height } = pen.canvas;
    const veil = blank(width, height);
    const dark = veil.getContext("2d");
    dark.fillStyle = "rgb(6 9 14 / 0.78)";
    dark.fillRect(0, 0, width, height);
    dark.globalCompositeOperation = "destination-out";
    dark.imageSmoothingQuality = "high";
    const box = focus.word ? focus.word.box : focus.object;
    if (focus.word) dark.drawImage(heatOf(focus.word.heat), 0, 0, width, height);
    dark.globalAlpha = focus.word ? 0.6 : 1; // The object that a word is about shines less than where the word was read.
    if (this.detections[box]) dark.drawImage(this.#hole(box), 0, 0, width, height);
    pen.drawImage(veil, 0, 0);
    if (this.detections[box]) this.#boxes(pen, [box]);
  }

  #hole(index) {
    const hole = blank(this.width, this.height);
    const pen = hole.getContext("2d");
    if (this.detections[index].mask) {
      const labels = new Uint16Array(this.width * this.height);
      paintMask(labels, this.width, this.height, this.detections[index].mask, 1);
      const image = pen.createImageData(this.width, this.height);
      labels.forEach((label, at) => (image.data[4 * at + 3] = label * 255));
      pen.putImageData(image, 0, 0);
    } else {
      const [left, top, right, bottom] = this.#place(index, this.width, this.height);
      pen.fillRect(left, top, right - left, bottom - top);
    }
    return hole;
  }

  #place(index, width, height) {
    const across = width / this.answer.width;
    const down = height / this.answer.height;
    const [left, top, right, bottom] = this.detections[index].xyxy;
    return [left * across, top * down, right * across, bottom * down];
  }

  /** Boxes, the first one on top; a label that would hide a better one's is left out. */
  #boxes(pen, indices) {
    const { width, height } = pen.canvas;
    const unit = width / (pen.canvas.clientWidth || width);
    const line = 2.5 * unit;
    pen.font = `600 ${(pen.canvas.clientWidth < 500 ? 11 : 12.5) * unit}px system-ui, sans-serif`;
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    pen.lineWidth = line;
    const places = new Map(indices.map((index) => [index, this.#place(index, width, height)]));
    const plates = new Map();
    for (const [index, place] of places) {
      const { class: name, score } = this.detections[index];
      const text = `${name} ${Math.round(score * 100)}`;
      const size = [pen.measureText(text).width + 9 * unit, 18 * unit];
      const free = platesFor(place, size, width, height).find((plate) =>
        [...plates.values()].every((other) => apart(plate, other.plate)),
      );
      if (free) plates.set(index, { text, plate: free });
    }
    for (const [index, [left, top, right, bottom]] of [...places].reverse()) {
      pen.strokeStyle = css(colour(index));
      const inset = line / 2;
      pen.strokeRect(left + inset, top + inset, Math.max(0, right - left - line), Math.max(0, bottom - top - line));
    }
    for (const [index, { text, plate }] of plates) {
      const [x, y, across, down] = plate;
      pen.fillStyle = css(colour(index));
      pen.fillRect(x, y, across, down);
      pen.fillStyle = ink(colour(index));
      pen.fillText(text, x + 4.5 * unit, y + down / 2 + 0.5 * unit);
    }
  }
}

/** Where a label of a size may stand: above its box, inside it, below it; within the picture. */
function platesFor([left, top, , bottom], [across, down], width, height) {
  const x = Math.max(0, Math.min(left, width - across));
  return [top - down, top, bottom].filter((y) => y >= 0 && y + down <= height).map((y) => [x, y, across, down]);
}

const apart = ([x, y, across, down], [left, top, wide, high]) =>
  x + across <= left || left + wide <= x || y + down <= top || top + high <= y;

/** A coarse grid of 0..1 as a small picture whose opacity it is. */
function heatOf(rows) {
  const canvas = blank(rows[0].length, rows.length);
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(canvas.width, canvas.height);
  const most = Math.max(...rows.flat(), 1e-6);
  rows.flat().forEach((heat, at) => (image.data[4 * at + 3] = 255 * Math.min(1, (heat / most) ** 0.5)));
  pen.putImageData(image, 0, 0);
  return canvas;
}

function blank(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

const pixels = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
