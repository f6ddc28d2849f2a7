// Messages on their way: each is sent until the server has acknowledged it, one after the other, under an id that makes
// it one message however often it is sent. They are kept while the tab is, over reloads.
"use strict";

const MOST_ATTEMPTS = 5; // at what the server asks to be sent again

class Outbox {
  // send(message): whether it went out; changed(): what it holds is to be shown again
  constructor(key, send, changed) {
    this.key = key;
    this.sendOut = send;
    this.changed = changed;
    this.items = []; // { id, text, problem: why it was not taken, attempts, isShown: by its entry already }
    try {
      this.items = JSON.parse(sessionStorage.getItem(key) || "[]");
    } catch {
      // A browser that keeps nothing.
    }
  }

  add(text) {
    const wasIdle = !this.first();
    this.items.push({ id: chance(), text, problem: "", attempts: 0 });
    this.keep();
    if (wasIdle) this.go();
  }

  // The first that is not refused: where there is one, it is under way, or waits for its moment or for the line.
  first() {
    return this.items.find((one) => !one.problem);
  }

  // Sends the first; the next one follows when that is dealt with.
  go() {
    clearTimeout(this.again);
    const item = this.first();
    if (item) this.sendOut({ type: "chat", id: item.id, text: item.text });
  }

  acknowledged(id) {
    if (!this.items.some((one) => one.id === id)) return; // of a copy: the next one is under way
    this.discard(id);
    this.go();
  }

  // What became of a message that was not stored; why it is given up, if it is.
  refused({ ref, code, detail, retry_after: seconds }) {
    const item = this.items.find((one) => one.id === ref);
    if (!item) return "";
    item.isShown = false;
    item.attempts += 1;
    const isTemporary = code === "try_again" || code === "too_fast";
    if (isTemporary && item.attempts < MOST_ATTEMPTS) {
      clearTimeout(this.again);
      this.again = setTimeout(() => this.go(), (seconds || 2) * 1000);
    } else {
      item.problem = detail;
      this.go();
    }
    this.keep();
    return item.problem;
  }

  // An entry of one's own has come; it may be the one that is on its way, before it is acknowledged.
  seen(text) {
    const item = this.items.find((one) => !one.problem && !one.isShown && one.text === text);
    if (!item) return;
    item.isShown = true;
    this.keep();
  }

  tryAgain(id) {
    const wasIdle = !this.first();
    const item = this.items.find((one) => one.id === id);
    item.problem = "";
    item.attempts = 0;
    this.keep();
    if (wasIdle) this.go();
  }

  discard(id) {
    this.items = this.items.filter((one) => one.id !== id);
    this.keep();
  }

  // There is nobody any more to send them to.
  fail(problem) {
    clearTimeout(this.again);
    for (const item of this.items) item.problem ||= problem;
    this.keep();
  }

  keep() {
    try {
      sessionStorage.setItem(this.key, JSON.stringify(this.items));
    } catch {
      // A browser that keeps nothing.
    }
    this.changed();
  }
}

// An id that nobody else has. `crypto.randomUUID` is for secure pages alone.
function chance() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
