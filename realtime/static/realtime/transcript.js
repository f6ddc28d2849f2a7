// What is known of a room: its entries by number, each once, in order and without a gap from `first` to `last`.
"use strict";

class Transcript {
  constructor(first, last) {
    this.begin(first, last);
  }

  // From here on; what was known is forgotten.
  begin(first, last) {
    this.first = first;
    this.last = last;
    this.early = new Map(); // those that came before the ones that they follow
  }

  // Takes entries as they come; returns those that are next, in order.
  take(entries) {
    for (const entry of entries) if (entry.number > this.last) this.early.set(entry.number, entry);
    const next = [];
    for (let entry; (entry = this.early.get(this.last + 1)); ) {
      this.early.delete(entry.number);
      this.last = entry.number;
      next.push(entry);
    }
    return next;
  }

  // Whether entries wait for others that were never told.
  get hasGap() {
    return this.early.size > 0;
  }

  // Takes what came before the first one; returns what was not known.
  takeOlder(entries) {
    const older = entries.filter((entry) => entry.number < this.first);
    const isWhole = older.every((entry, index) => entry.number === this.first - older.length + index);
    if (!older.length || !isWhole) return [];
    this.first = older[0].number;
    return older;
  }
}
