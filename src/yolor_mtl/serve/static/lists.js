// Caption, objects and parts as text that can be pointed at, reached by keyboard, and read aloud. Whatever comes from the
// server becomes text, never markup.

import { colour, css } from "./colours.js";

/** A class's name as people say it: "wall-other-merged" is COCO's way of writing "wall". */
export const plain = (name) =>
  name
    .replace(/-merged$/, "")
    .replace(/-(other|stuff)$/, "")
    .replaceAll("-", " ");

/** Makes an element with a class and text. */
export function element(kind, className, text) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/**
 * A button that shows something while it is pointed at or has the focus, and keeps showing it once pressed.
 * @param {HTMLButtonElement} button
 * @param {object} focus what it shows
 * @param {(focus: object | null, pinned?: HTMLButtonElement | null) => void} show
 */
function showing(button, focus, show) {
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && show(focus));
  button.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show(null));
  button.addEventListener("focus", () => button.matches(":focus-visible") && show(focus));
  button.addEventListener("blur", () => show(null));
  button.addEventListener("click", () => show(focus, button));
}

/** The caption; its words are buttons where the answer says what each is about. */
export function fillCaption(place, caption, show) {
  place.replaceChildren();
  const text = caption?.text ?? "";
  let at = 0;
  for (const word of caption?.words ?? []) {
    const start = text.indexOf(word.word, at);
    if (start < 0 || !word.heat?.length) continue;
    place.append(text.slice(at, start));
    const button = element("button", word.box == null ? "word" : "word tied", word.word);
    showing(button, { word }, show);
    place.append(button);
    at = start + word.word.length;
  }
  place.append(text.slice(at));
}

/** The objects, best first. */
export function fillObjects(place, detections, show) {
  place.replaceChildren(
    ...detections.map((detection, index) => {
      const button = element("button", "object");
      button.append(swatch(colour(index)), element("span", "name", detection.class), percent(detection.score));
      showing(button, { object: index }, show);
      const item = document.createElement("li");
      item.append(button);
      return item;
    }),
  );
}

/** Classes of the semantic map by the share of the picture that they cover. */
export function fillParts(place, semantic) {
  const rows = Object.entries(semantic?.classes ?? {}).sort(([, one], [, other]) => other - one);
  place.replaceChildren(
    ...rows.map(([index, share]) => {
      const item = element("li", "part");
      const bar = element("span", "share");
      bar.style.setProperty("--share", share);
      bar.style.setProperty("--tint", css(colour(Number(index))));
      item.append(swatch(colour(Number(index))), element("span", "name", plain(semantic.names[index])), percent(share), bar);
      return item;
    }),
  );
}

function swatch(tint) {
  const made = element("span", "swatch");
  made.style.backgroundColor = css(tint);
  return made;
}

function percent(share) {
  const rounded = Math.round(share * 100);
  return element("span", "number", rounded === 0 && share > 0 ? "< 1 %" : `${rounded} %`);
}
