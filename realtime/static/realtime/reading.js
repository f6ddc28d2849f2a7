// How far somebody has read: where the new begins, how much of it there is, and no jumping while they read above.
"use strict";

const NEAR = 32; // pixels from the end that count as the end

class Reading {
  // log: what scrolls; button: goes to the end; key: under which the browser keeps how far it was read
  constructor(log, button, key) {
    this.log = log;
    this.button = button;
    this.key = key;
    this.title = document.title;
    this.unseen = 0; // messages of others that came since
    this.isFollowing = true; // at the end, where what comes is seen
    this.last = null; // the number of the last entry, once there is something to read
    this.line = make("li", "chat-new", "New");
    button.addEventListener("click", () => {
      this.toEnd();
      document.getElementById("chat-text").focus({ preventScroll: true });
    });
    log.addEventListener("scroll", () => this.look(), { passive: true });
    document.addEventListener("visibilitychange", () => {
      this.look();
      if (this.isFollowing && !document.hidden) this.toEnd();
    });
    new ResizeObserver(() => { if (this.isFollowing) this.toEnd(); }).observe(log);
  }

  // Where reading stopped the last time, in this browser; null where it never began.
  get stopped() {
    try {
      const kept = localStorage.getItem(this.key);
      return kept === null ? null : Number(kept);
    } catch {
      return null; // a browser that keeps nothing
    }
  }

  // Begins with what is there: at the first that is new, or at the end.
  begin(items, last, isMine) {
    const stopped = this.stopped;
    this.last = last;
    const isNew = (item) => item.entry.number > stopped && item.entry.kind === "message" && !isMine(item.entry);
    const first = stopped === null ? undefined : items.find(isNew);
    // What lies between may be further up, where it is not loaded.
    if (first && (first !== items[0] || first.entry.number === stopped + 1)) {
      first.before(this.line);
      this.line.scrollIntoView({ block: "center" });
      this.unseen = items.filter(isNew).length;
      this.isFollowing = this.isAtEnd();
      this.look();
    } else {
      this.toEnd();
    }
  }

  isAtEnd() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR;
  }

  // Changes the list below what is read.
  below(change, { last, news, first }) {
    const follows = this.isFollowing && !document.hidden;
    change();
    this.last = last;
    if (news.length && !follows && !this.unseen) {
      first(news[0])?.before(this.line);
    }
    if (!follows) this.unseen += news.length;
    if (follows) this.toEnd();
    else this.look();
  }

  // Changes the list above what is read, which stays where it is.
  above(change) {
    const before = this.log.scrollHeight - this.log.scrollTop;
    change();
    this.log.scrollTop = this.log.scrollHeight - before;
  }

  toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
    this.isFollowing = true;
    this.look();
  }

  // One's own words end what was new.
  said() {
    this.line.remove();
    this.toEnd();
  }

  look() {
    if (this.last === null) return;
    if (!document.hidden) this.isFollowing = this.isAtEnd();
    if (this.isFollowing && !document.hidden) {
      this.unseen = 0;
      this.keep();
    }
    const what = `${this.unseen} new message${this.unseen === 1 ? "" : "s"}`;
    this.button.textContent = this.unseen ? what : "To the newest";
    this.button.hidden = this.isFollowing && !this.unseen;
    document.title = this.unseen && document.hidden ? `(${this.unseen}) ${this.title}` : this.title;
  }

  keep() {
    try {
      if (this.last > Number(localStorage.getItem(this.key))) localStorage.setItem(this.key, String(this.last));
      else if (localStorage.getItem(this.key) === null) localStorage.setItem(this.key, String(this.last));
    } catch {
      // A browser that keeps nothing.
    }
  }
}
