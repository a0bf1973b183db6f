// The page: a picture in, its answers as layers over it.

import { ask, fetchFile, info, Problem } from "./client.js";
import { Layers } from "./layers.js";
import { element, fillCaption, fillObjects, fillParts, plain } from "./lists.js";

const at = (id) => document.getElementById(id);
const RETRIES = 3;
const NAMES = ["boxes", "masks", "semantic", "panoptic"];

let maxBytes = Infinity;
let file = null; // What was asked last.
let layers = null; // Its answer.
let focus = null; // What alone is to be seen...
let pinned = null; // ... and the button that keeps it.
let running = null; // Ends the request that is under way.
let waiting = 0; // Timer of the next try.

function draw() {
  const canvas = at("over");
  const { width, height } = canvas.getBoundingClientRect();
  const dots = Math.min(window.devicePixelRatio || 1, 2);
  const size = [Math.max(1, Math.round(width * dots)), Math.max(1, Math.round(height * dots))];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const on = Object.fromEntries(NAMES.map((name) => [name, at(`layer-${name}`).checked]));
  if (layers) layers.draw(canvas, on, Number(at("strength").value), focus);
  else canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}

/** Shows one object or word alone; a pressed button keeps it until it is pressed again. */
function show(wanted, button) {
  if (button) {
    const off = button === pinned;
    unpin();
    pinned = off ? null : button;
    pinned?.setAttribute("aria-pressed", "true");
    focus = off ? null : wanted;
    if (pinned) pinned.shows = wanted;
  } else {
    focus = wanted ?? pinned?.shows ?? null;
  }
  draw();
}

function unpin() {
  pinned?.setAttribute("aria-pressed", "false");
  pinned = null;
  focus = null;
}

/** Says why there is no answer; tries again by itself where that may help. */
function showProblem(problem, tries) {
  at("working").hidden = true;
  at("problem-title").textContent = problem.title ?? "Something went wrong";
  at("problem-text").textContent = problem.message;
  at("again").hidden = !file;
  at("problem").hidden = false;
  // A file that nobody could show leaves room for the next one.
  const empty = !layers && at("picture").classList.contains("blank");
  at("shown").hidden = at("shown").hidden || empty;
  at("bar").hidden = at("bar").hidden || empty;
  at("drop").hidden = !at("shown").hidden;
  if (problem.retryAfter && tries < RETRIES) {
    at("problem-text").textContent = `${problem.message} Trying again by itself in ${problem.retryAfter} s.`;
    waiting = setTimeout(() => run(file, tries + 1), problem.retryAfter * 1000);
  }
}

/** Shows a picture and asks for its answers. */
async function run(picture, tries = 0) {
  clearTimeout(waiting);
  running?.abort();
  const mine = (running = new AbortController());
  at("problem").hidden = true; // It was about the one before.
  if (picture !== file) await showPicture(picture);
  if (mine.signal.aborted) return;
  if (picture.size > maxBytes) {
    showProblem(new Problem("too_large", `It has ${bytes(picture.size)}; the limit is ${bytes(maxBytes)}.`), RETRIES);
    return;
  }
  const started = performance.now();
  working(0);
  try {
    const options = { conf: at("conf").value, beam: at("beam").value, attention: "true" };
    const answer = await ask(picture, options, working, mine.signal);
    const ready = await Layers.of(answer);
    if (!mine.signal.aborted) await showAnswer(ready, performance.now() - started);
  } catch (error) {
    if (!mine.signal.aborted) showProblem(error, tries);
  }
}

function working(share) {
  at("working").hidden = false;
  const stage = share < 1 ? "Sending" : "Looking";
  if (at("stage").textContent !== stage) {
    at("stage").textContent = stage;
    at("said").textContent = share < 1 ? "The picture is being sent." : "The picture has arrived and is looked at.";
  }
  if (share < 1) at("progress").value = share;
  else at("progress").removeAttribute("value");
}

async function showPicture(picture) {
  file = picture;
  layers = null;
  unpin();
  const image = at("picture");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(picture);
  image.alt = picture.name ? `The picture ${picture.name}` : "The picture";
  at("drop").hidden = true;
  at("shown").hidden = false;
  at("bar").hidden = false;
  at("right").hidden = true;
  for (const id of ["caption", "facts"]) at(id).replaceChildren();
  at("hint").hidden = true;
  at("under").hidden = true;
  try {
    await image.decode();
    fit(image.naturalWidth, image.naturalHeight);
    image.classList.remove("blank");
  } catch {
    // A format that this browser does not show, such as TIFF; the answer tells the picture's size.
    fit(4, 3);
    image.classList.add("blank");
  }
  draw();
}

/** Gives the frame the picture's form. */
function fit(width, height) {
  at("frame").style.setProperty("--ratio", String(width / height));
  at("frame").style.setProperty("--across", `${Math.max(width, 360)}px`);
}

async function showAnswer(ready, milliseconds) {
  layers = ready;
  const { answer } = layers;
  fit(answer.width, answer.height);
  at("working").hidden = true;
  at("right").hidden = false;
  for (const name of NAMES) {
    at(`layer-${name}`).disabled = !layers.present[name];
    at(`layer-${name}`).closest("label").hidden = !layers.present[name];
  }
  const objects = answer.detections ?? [];
  at("count-boxes").textContent = String(objects.length);
  fillCaption(at("caption"), answer.caption, show);
  at("hint").hidden = !at("caption").querySelector("button");
  fillObjects(at("objects"), objects, show);
  at("objects-part").hidden = answer.detections == null;
  at("no-objects").hidden = objects.length > 0;
  fillParts(at("parts"), answer.semantic);
  at("parts-part").hidden = answer.semantic == null;
  at("beam-row").hidden = answer.caption == null;
  const seconds = (milliseconds / 1000).toFixed(milliseconds < 950 ? 2 : 1);
  at("facts").textContent = `${answer.width} × ${answer.height} pixels, answered in ${seconds} s`;
  const words = answer.caption ? `Caption: ${answer.caption.text}. ` : "";
  at("said").textContent = `${words}${objects.length === 1 ? "1 object" : `${objects.length} objects`} found.`;
  at("over").setAttribute("aria-label", `Layers over the picture: ${counted(objects) || "no objects"}`);
  URL.revokeObjectURL(at("json").href);
  at("json").href = URL.createObjectURL(new Blob([JSON.stringify(answer)], { type: "application/json" }));
  draw();
}

/** "2 dogs"-like counts without grammar: dog 2, cat 1. */
function counted(objects) {
  const counts = new Map();
  for (const { class: name } of objects) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => `${name} ${count}`).join(", ");
}

const bytes = (count) => (count < 1e6 ? `${Math.ceil(count / 1e3)} kB` : `${Number((count / 1e6).toFixed(1))} MB`);

function take(files) {
  const [first] = files ?? [];
  if (first) run(first);
}

function listen() {
  for (const id of ["choose", "another"]) at(id).addEventListener("click", () => at("file").click());
  at("file").addEventListener("change", () => {
    take(at("file").files);
    at("file").value = ""; // The same file may be chosen again.
  });
  let depth = 0;
  const dropping = (inside) => (at("veil").hidden = !inside);
  document.addEventListener("dragenter", (event) => {
    event.preventDefault();
    dropping(++depth > 0);
  });
  document.addEventListener("dragleave", () => dropping(--depth > 0));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    dropping(false);
    take(event.dataTransfer?.files);
  });
  document.addEventListener("paste", (event) => take(event.clipboardData?.files));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    unpin();
    draw();
  });
  at("layers").addEventListener("change", draw);
  at("again").addEventListener("click", () => run(file));
  at("strength").addEventListener("input", () => {
    at("strength-shown").textContent = `${Math.round(at("strength").value * 100)} %`;
    draw();
  });
  at("conf").addEventListener("input", () => (at("conf-shown").textContent = Number(at("conf").value).toFixed(2)));
  at("picture").classList.add("blank"); // Until there is one.
  for (const id of ["conf", "beam"]) at(id).addEventListener("change", () => file && run(file));
  new ResizeObserver(draw).observe(at("frame"));
  at("frame").addEventListener("pointermove", pointed);
  at("frame").addEventListener("pointerleave", () => (at("under").hidden = true));
}

function pointed(event) {
  if (!layers || focus || event.pointerType !== "mouse") return;
  const area = at("over").getBoundingClientRect();
  const names = layers.namesAt((event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height);
  at("under").textContent = names.map(plain).join(" · ");
  at("under").hidden = names.length === 0;
}

async function begin() {
  listen();
  at("curl").textContent = `curl -F file=@photo.jpg ${new URL("predict", document.baseURI)}`;
  try {
    const about = await info();
    maxBytes = about.max_bytes;
    at("version").textContent = `yolor-mtl ${about.version}`;
    at("limits").textContent = `JPEG, PNG, WebP, TIFF and others, up to ${bytes(maxBytes)}`;
    at("examples").replaceChildren(...about.examples.map(exampleItem));
    at("examples-part").hidden = about.examples.length === 0;
  } catch (error) {
    showProblem(error instanceof Problem ? error : new Problem("offline", "It may have been stopped."), RETRIES);
  }
}

function exampleItem({ url, alt }) {
  const image = new Image();
  image.src = url;
  image.alt = `Example: ${alt}`;
  image.loading = "lazy";
  const button = element("button", "example");
  button.type = "button";
  button.append(image);
  button.addEventListener("click", async () => {
    try {
      await run(await fetchFile(url));
      at("work").scrollIntoView({ block: "start" });
    } catch (error) {
      showProblem(error, RETRIES);
    }
  });
  const item = document.createElement("li");
  item.append(button);
  return item;
}

begin();
