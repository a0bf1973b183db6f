// Talking to the server.

const TITLES = {
  too_large: "The file is too large",
  too_many_pixels: "The picture is too large",
  unreadable: "This is no picture that can be read",
  form: "The picture did not arrive",
  busy: "Many are asking at once",
  timeout: "It took too long",
  slow: "Sending took too long",
  stopping: "The server is stopping",
  fault: "The server failed",
  offline: "The server cannot be reached",
};

/** Why there is no answer: a title, a sentence, and after how many seconds it may go better (0: never by itself). */
export class Problem extends Error {
  constructor(code, message, retryAfter = 0) {
    super(message);
    this.title = TITLES[code] ?? "The server says no";
    this.retryAfter = retryAfter;
  }
}

/**
 * Sends a picture.
 * @param {File} file
 * @param {Record<string, string>} options query parameters
 * @param {(share: number) => void} sent told how much of the file has been sent, 0..1
 * @param {AbortSignal} signal
 * @returns {Promise<object>} the answer
 */
export function ask(file, options, sent, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `predict?${new URLSearchParams(options)}`);
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => sent(event.total ? event.loaded / event.total : 1));
    request.upload.addEventListener("load", () => sent(1));
    request.addEventListener("load", () => {
      if (request.status === 200 && request.response) resolve(request.response);
      else reject(problemOf(request));
    });
    request.addEventListener("error", () =>
      reject(new Problem("offline", "It may have been stopped, or the network is down. The picture is still here.")),
    );
    request.addEventListener("abort", () => reject(new DOMException("replaced by another picture", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    const form = new FormData();
    form.append("file", file, file.name || "picture");
    request.send(form);
  });
}

function problemOf(request) {
  const said = request.response;
  const retryAfter = Number(request.getResponseHeader("Retry-After")) || 0;
  if (said?.message) return new Problem(said.error, sentence(said.message), retryAfter);
  return new Problem("fault", `The answer was ${request.status} ${request.statusText}.`, retryAfter);
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

/** What runs here; see /info. */
export async function info() {
  const response = await fetch("info");
  if (!response.ok) throw new Problem("fault", `The answer was ${response.status} ${response.statusText}.`);
  return response.json();
}

/** A picture of the server's as a file. */
export async function fetchFile(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Problem("fault", `The answer was ${response.status} ${response.statusText}.`);
  const blob = await response.blob();
  return new File([blob], url.split("/").pop(), { type: blob.type });
}
