// Sends a file to the library piece by piece, and goes on where it stood: after a pause, a lost network, a new sign-in or
// a reload of the page (the file must be chosen again; which upload it was, the browser's storage remembers).
(() => {
  "use strict";

  const form = document.getElementById("upload");
  // By `namedItem`: `elements.item` is a method of the collection itself.
  const [fileField, itemField, roleField] = ["file", "item", "role"].map((name) => form.elements.namedItem(name));
  const submit = form.querySelector("[type=submit]");
  const buttons = Object.fromEntries([...form.querySelectorAll("[data-do]")].map((button) => [button.dataset.do, button]));
  const progress = form.querySelector("progress");
  const numbers = form.querySelector(".upload-numbers");
  const words = form.querySelector(".upload-words");
  const list = document.querySelector(".unfinished");
  const token = form.elements.csrfmiddlewaretoken.value;
  const LONGEST_PAUSE = 30_000; // milliseconds
  const RATE_SECONDS = 10; // how far back the speed is measured

  let current = null; // { file, id, upload, controller, paused, samples }

  form.querySelector(".with-script").hidden = false;
  fileField.required = true;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (current === null && fileField.files.length === 1) {
      run(fileField.files[0]);
    }
  });
  fileField.addEventListener("change", () => {
    const known = fileField.files.length === 1 && remembered(fileField.files[0]);
    say(known ? "An upload of this file was begun already: it will go on where it stood." : "");
  });
  buttons.pause.addEventListener("click", pause);
  buttons.resume.addEventListener("click", () => current && send());
  buttons.cancel.addEventListener("click", cancel);
  list?.addEventListener("submit", (event) => {
    event.preventDefault();
    cancelListed(event.submitter);
  });
  window.addEventListener("online", () => current && current.wake && current.wake());
  window.addEventListener("beforeunload", (event) => {
    if (current !== null && !current.paused) {
      event.preventDefault();
    }
  });
  const drop = form.querySelector(".drop");
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind !== "drop" || current !== null) {
        return;
      }
      if (event.dataTransfer.files.length > 1) {
        say("One file at a time.", true);
      } else if (event.dataTransfer.files.length) {
        fileField.files = event.dataTransfer.files;
        fileField.dispatchEvent(new Event("change"));
      }
    });
  }

  async function run(file) {
    current = { file, id: remembered(file)?.id ?? chance(), upload: null, controller: null, paused: false, samples: [] };
    say("Begins …");
    await send();
  }

  /** From wherever it stands to the end, or until something stops it. */
  async function send() {
    const mine = current;
    mine.paused = false;
    mine.controller = new AbortController();
    mine.samples = [];
    show({ busy: true });
    try {
      mine.upload = await begun(mine);
      const done = await sent(mine);
      forget(mine.file);
      current = null;
      window.location.assign(done.url);
    } catch (problem) {
      if (current === mine) {
        stopped(mine, problem);
      }
    }
  }

  /** Chunk after chunk, then the word that it is all; what the server made of it. */
  async function sent(mine) {
    for (;;) {
      while (mine.upload.offset < mine.file.size) {
        draw(mine);
        await stepping(mine, () => chunk(mine));
      }
      draw(mine);
      say("All has arrived. The library looks at the file …");
      const done = await stepping(mine, () => persistently(mine, "POST", mine.upload.finish));
      if (done) {
        return done;
      }
    }
  }

  /** Do what `act` does; where the server stands elsewhere than this page thinks, go on from there. */
  async function stepping(mine, act) {
    try {
      return await act();
    } catch (problem) {
      if (!Number.isInteger(problem.offset)) {
        throw problem;
      }
      mine.upload.offset = problem.offset; // another tab was at it, or an answer was lost
      return null;
    }
  }

  /** The upload that has this id, as the server knows it; where it knows none, it begins one. */
  async function begun(mine) {
    remember(mine.file, mine.id); // before it is asked for: the answer may be lost
    const told = new URLSearchParams({ ...place(), name: mine.file.name, size: mine.file.size, id: mine.id });
    const upload = await persistently(mine, "POST", form.dataset.start, { body: told });
    say(upload.offset ? "Goes on where it stood." : "Uploads.");
    return upload;
  }

  async function chunk(mine) {
    const { upload, file } = mine;
    const body = file.slice(upload.offset, Math.min(upload.offset + upload.chunk, file.size));
    const headers = { "Content-Type": "application/octet-stream", "Upload-Offset": String(upload.offset) };
    upload.offset = (await persistently(mine, "PATCH", upload.url, { body, headers })).offset;
    say("Uploads.");
  }

  /** Ask until there is an answer that asking again would not change. */
  async function persistently(mine, method, url, { body, headers } = {}) {
    for (let wait = 1000; ; wait = Math.min(2 * wait, LONGEST_PAUSE)) {
      const answer = await asked(mine, method, url, body, headers);
      if (answer.done) {
        return answer.value;
      }
      if (!answer.again) {
        throw answer.problem;
      }
      if (answer.problem.code !== "busy") {
        say(`${answer.problem.detail} Tries again in ${Math.round(wait / 1000)} s.`, true);
      }
      await asleep(mine, answer.problem.code === "busy" ? 1000 : wait);
    }
  }

  async function asked(mine, method, url, body, headers) {
    let response;
    try {
      response = await fetch(url, {
        method,
        body,
        headers: { Accept: "application/json", "X-CSRFToken": token, ...headers },
        credentials: "same-origin",
        redirect: "manual",
        signal: mine.controller.signal,
      });
    } catch (error) {
      if (mine.controller.signal.aborted) {
        throw { aborted: true };
      }
      return { again: true, problem: { detail: "The network, or the server, does not answer." } };
    }
    if (response.type === "opaqueredirect") {
      const detail =
        "You are not signed in any more. Sign in, open this page again and choose the same file: it goes on where it stood.";
      return { problem: { status: 401, detail } };
    }
    const value = await response.json().catch(() => ({}));
    if (response.ok) {
      return { done: true, value };
    }
    const problem = { detail: `The server answered ${response.status}.`, ...value, status: response.status };
    const again = problem.code === "busy" || (response.status >= 500 && response.status !== 507) || response.status === 429;
    return { again, problem };
  }

  function asleep(mine, milliseconds) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, milliseconds);
      mine.wake = () => {
        clearTimeout(timer);
        resolve();
      };
      mine.controller.signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject({ aborted: true });
      });
    });
  }

  function pause() {
    if (current) {
      current.paused = true;
      current.controller.abort();
    }
  }

  function stopped(mine, problem) {
    mine.paused = true;
    const isOver = problem.status === 400 || problem.status === 404 || problem.status === 409 || problem.status === 413;
    if (isOver) {
      forget(mine.file);
      current = null;
    }
    show({ busy: false, resumable: !isOver });
    say(problem.aborted ? "Paused." : problem.detail, !problem.aborted);
    (isOver ? fileField : buttons.resume).focus();
  }

  async function cancel() {
    const mine = current;
    current = null;
    mine.controller.abort();
    forget(mine.file);
    show({ busy: false });
    progress.parentElement.hidden = true;
    say("Cancelled.");
    fileField.focus();
    unlist(mine.id);
    await giveUp(mine.id); // or it is swept away later
  }

  /** Give up one of the list. */
  async function cancelListed(button) {
    if (current?.id === button.value) {
      cancel();
      return;
    }
    if (button.ariaDisabled) {
      return; // it was pressed already
    }
    button.ariaDisabled = "true";
    const { done, problem } = await giveUp(button.value);
    if (done) {
      say(`“${button.dataset.name}” is cancelled.`);
    } else {
      say(problem.detail, true);
    }
    if (done || problem.status === 404) {
      forgetId(button.value);
      unlist(button.value);
    }
    button.ariaDisabled = null;
  }

  /** Tell the server that an upload is given up; what it answers. */
  function giveUp(id) {
    return asked({ controller: new AbortController() }, "DELETE", `${form.dataset.start}${id}/`);
  }

  /** Take an upload out of the list. Focus that goes with it goes to what stays, and not to the next one's button. */
  function unlist(id) {
    const row = list?.querySelector(`[value="${id}"]`)?.closest("tr");
    if (!row) {
      return;
    }
    const wasThere = row.contains(document.activeElement);
    row.remove();
    const isEmpty = !list.querySelector("[name=cancel]");
    list.hidden = isEmpty;
    if (wasThere) {
      const places = isEmpty ? [fileField, buttons.pause, buttons.resume] : [list.querySelector("h2")];
      places.find((place) => !place.disabled && !place.hidden).focus();
    }
  }

  function show({ busy, resumable = false }) {
    for (const field of [fileField, itemField, roleField, submit]) {
      field.disabled = busy || resumable;
    }
    buttons.pause.hidden = !busy;
    buttons.resume.hidden = !resumable;
    buttons.cancel.hidden = !(busy || resumable);
    progress.parentElement.hidden = current === null;
    if (busy) {
      buttons.pause.focus();
    }
  }

  function say(text, isBad = false) {
    words.classList.toggle("bad", isBad);
    if (words.textContent !== text) {
      words.textContent = text;
    }
  }

  function draw(mine) {
    const { offset } = mine.upload;
    const size = mine.file.size;
    const now = performance.now();
    mine.samples = [...mine.samples.filter(([at]) => now - at < RATE_SECONDS * 1000), [now, offset]];
    const [at, from] = mine.samples[0];
    const rate = now > at ? (1000 * (offset - from)) / (now - at) : 0; // bytes a second
    progress.value = size ? (100 * offset) / size : 100;
    const parts = [`${Math.floor(progress.value)} %`, `${bytes(offset)} of ${bytes(size)}`];
    if (rate > 0) {
      parts.push(`${bytes(rate)}/s`, `${time((size - offset) / rate)} left`);
    }
    numbers.textContent = parts.join(" · ");
  }

  function bytes(number) {
    const units = ["bytes", "kB", "MB", "GB", "TB"];
    const power = Math.min(Math.floor(Math.log10(Math.max(number, 1)) / 3), units.length - 1);
    return `${(number / 1000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
  }

  function time(seconds) {
    const whole = Math.ceil(seconds);
    return whole < 100 ? `${whole} s` : whole < 6000 ? `${Math.ceil(whole / 60)} min` : `${(whole / 3600).toFixed(1)} h`;
  }

  function place() {
    return { item: itemField.value, role: roleField.value };
  }

  // The same file for the same place: its name, size and time tell it from others.
  function nameOf(file) {
    return `upload:${JSON.stringify([file.name, file.size, file.lastModified, place().item, place().role])}`;
  }

  function remember(file, id) {
    try {
      localStorage.setItem(nameOf(file), JSON.stringify({ id }));
    } catch {
      // no storage: a reload begins anew
    }
  }

  function remembered(file) {
    try {
      return JSON.parse(localStorage.getItem(nameOf(file)));
    } catch {
      return null;
    }
  }

  function forget(file) {
    try {
      localStorage.removeItem(nameOf(file));
    } catch {
      // nothing was remembered
    }
  }

  function forgetId(id) {
    try {
      for (const name of Object.keys(localStorage)) {
        if (name.startsWith("upload:") && localStorage.getItem(name) === JSON.stringify({ id })) {
          localStorage.removeItem(name);
        }
      }
    } catch {
      // nothing was remembered
    }
  }

  // An id that nobody else has. `crypto.randomUUID` is for secure pages alone.
  function chance() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }
})();
