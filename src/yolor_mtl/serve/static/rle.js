// COCO's compressed run lengths: a number is some digits of five bits, lowest first; bit 32 says that more follow, bit 16
// of the last one is the sign. From the fourth on, a number is the difference to the run two before it.

/**
 * Runs of a compressed RLE, in pixels: background, mask, background, and so on, down the columns.
 * @param {string} counts
 * @returns {number[]}
 */
export function runLengths(counts) {
  const runs = [];
  for (let place = 0; place < counts.length; ) {
    let value = 0;
    let weight = 1;
    let digit;
    do {
      digit = counts.charCodeAt(place++) - 48;
      if (!(digit >= 0 && digit < 64)) throw new RangeError("not a compressed RLE");
      value += (digit & 31) * weight;
      weight *= 32;
    } while (digit & 32);
    if (digit & 16) value -= weight;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

/**
 * Writes a value wherever a mask holds, on a grid that may be coarser or finer than the mask's own.
 * @param {Uint16Array} labels height * width values, row by row
 * @param {number} width
 * @param {number} height
 * @param {{size: [number, number], counts: string}} mask
 * @param {number} value
 */
export function paintMask(labels, width, height, mask, value) {
  const [rows, columns] = mask.size;
  // The first cell of the grid whose centre lies at or behind a place of the mask.
  const column = (x) => Math.ceil((x * width) / columns - 0.5);
  const row = (y) => Math.ceil((y * height) / rows - 0.5);
  let at = 0;
  runLengths(mask.counts).forEach((run, index) => {
    const end = at + run;
    if (index % 2 && run > 0) {
      for (let x = Math.floor(at / rows); x * rows < end; x++) {
        const top = row(Math.max(at - x * rows, 0));
        const bottom = row(Math.min(end - x * rows, rows));
        for (let left = column(x); left < column(x + 1); left++) {
          for (let y = top; y < bottom; y++) labels[y * width + left] = value;
        }
      }
    }
    at = end;
  });
}
