// The colours of the package's own pictures: neighbours differ, hues are a golden section apart.

const GOLDEN = 0.618033988749895;

/**
 * @param {number} index of a class, an object or a segment
 * @returns {[number, number, number]} red, green, blue
 */
export function colour(index) {
  const hue = (index * GOLDEN + 0.08) % 1;
  const saturation = [0.85, 0.6, 0.95][index % 3];
  const value = [0.95, 0.85, 0.75][Math.floor(index / 3) % 3];
  const sector = Math.floor(hue * 6);
  const rest = hue * 6 - sector;
  const low = value * (1 - saturation);
  const falling = value * (1 - saturation * rest);
  const rising = value * (1 - saturation * (1 - rest));
  const mixed = [
    [value, rising, low],
    [falling, value, low],
    [low, value, rising],
    [low, falling, value],
    [rising, low, value],
    [value, low, falling],
  ][sector % 6];
  return mixed.map((part) => Math.round(part * 255));
}

/** As CSS writes it. */
export const css = ([red, green, blue], alpha = 1) => `rgb(${red} ${green} ${blue} / ${alpha})`;

/** Black or white, whichever reads better on a colour. */
export const ink = ([red, green, blue]) => (0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#000" : "#fff");
