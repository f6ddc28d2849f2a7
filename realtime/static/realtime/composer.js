// Where one writes: a draft that outlives a reload, how much is left, and why not, if not.
"use strict";

const COUNT_FROM = 200; // characters before the end of what a message may have

class Composer {
  // form: the page's; key: under which the draft is kept; say(text): it is to be sent
  constructor(form, key, say) {
    this.form = form;
    this.key = key;
    this.text = form.querySelector("textarea");
    this.button = form.querySelector("[type=submit]");
    this.reason = form.querySelector("[data-reason]");
    this.countdown = form.querySelector("[data-countdown]");
    this.count = form.querySelector("[data-count]");
    this.most = 2000; // until the server says so
    this.you = null;
    this.slowUntil = 0; // milliseconds of Date.now, as all moments here
    this.over = "";
    try {
      this.text.value = sessionStorage.getItem(key) || "";
    } catch {
      // A browser that keeps nothing.
    }
    this.text.addEventListener("input", () => this.changed());
    this.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey) return;
      if (event.isComposing || event.keyCode === 229) return; // 229: an input method's, and all that Safari says of it
      event.preventDefault();
      form.requestSubmit();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.text.value.trim();
      this.text.focus();
      if (!text || this.left < 0 || this.whyNot()) return;
      this.text.value = "";
      this.changed();
      say(text);
    });
    setInterval(() => this.show(), 1000);
    this.show();
  }

  get left() {
    return this.most - [...this.text.value.trim()].length;
  }

  changed() {
    try {
      sessionStorage.setItem(this.key, this.text.value);
    } catch {
      // A browser that keeps nothing.
    }
    this.show();
  }

  // you: what the server says that the reader may do
  may(you) {
    this.you = you;
    this.show();
  }

  waitFor(seconds) {
    this.slowUntil = Math.max(this.slowUntil, Date.now() + seconds * 1000);
    this.show();
  }

  end(why) {
    this.over = why;
    this.show();
  }

  // What keeps the reader from writing: in words, and until when if that is known.
  whyNot() {
    if (this.over) return { words: this.over, isForGood: true };
    const mutedUntil = this.you?.muted_until ? Date.parse(this.you.muted_until) : 0;
    if (this.you && !this.you.may_write && !(mutedUntil && mutedUntil <= Date.now())) {
      return { words: this.you.why_not || "You may not write here.", until: mutedUntil, isForGood: true };
    }
    if (this.slowUntil > Date.now()) return { words: "This room is in slow mode.", until: this.slowUntil };
    return null;
  }

  show() {
    const why = this.whyNot();
    set(this.reason, why ? why.words : "");
    set(this.countdown, why?.until ? `You can write again in ${clock((why.until - Date.now()) / 1000)}.` : "");
    const { left } = this;
    const characters = `${Math.abs(left)} character${Math.abs(left) === 1 ? "" : "s"}`;
    set(this.count, left < 0 ? `${characters} too many` : left < COUNT_FROM ? `${characters} left` : "");
    this.count.classList.toggle("chat-too-long", left < 0);
    this.text.setAttribute("aria-invalid", String(left < 0));
    this.text.disabled = Boolean(why?.isForGood);
    this.button.disabled = Boolean(why) || left < 0;
  }
}

// Without touching what is the same: what is touched is read out anew.
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function clock(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole < 60) return `${whole} s`;
  const days = Math.floor(whole / 86_400), hours = Math.floor(whole / 3600) % 24, minutes = Math.floor(whole / 60) % 60;
  if (days) return `${days} d ${hours} h`;
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
}
