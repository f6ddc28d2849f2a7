// Draws what was said: text as text, links as links, times as the reader's clock has them. Nothing of it is ever HTML.
"use strict";

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "short" });
const TOGETHER = 5 * 60_000; // milliseconds between two messages of one person that need no second heading
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`]+/gi;

function make(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function makeButton(text, className, press) {
  const made = make("button", className, text);
  made.type = "button";
  made.addEventListener("click", press);
  return made;
}

// Text, with the addresses in it made links. Only what begins with http is one.
function linked(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(ADDRESS)) {
    const address = trimmed(found[0]);
    if (!URL.canParse(address)) continue;
    parts.push(text.slice(end, found.index), link(address));
    end = found.index + address.length;
  }
  parts.push(text.slice(end));
  return parts;
}

// Without the punctuation of the sentence in which it stands; a closing bracket stays where it was opened in it.
function trimmed(address) {
  let kept = address.replace(/[.,;:!?]+$/, "");
  while (kept.endsWith(")") && kept.split(")").length > kept.split("(").length) kept = kept.slice(0, -1);
  return kept;
}

function link(address) {
  const made = make("a", "", address);
  made.href = address;
  made.target = "_blank";
  made.rel = "noopener nofollow ugc";
  return made;
}

// What the server has put into the page, as the entry that it is.
function entryOf(item) {
  const { number, author, kind, at } = item.dataset;
  const name = item.querySelector(".chat-author")?.textContent;
  const person = author ? { id: Number(author), name, staff: "staff" in item.dataset } : undefined;
  const text = item.querySelector(".chat-text").textContent;
  return { number: Number(number), kind, at, author: person, text, deleted: "deleted" in item.dataset };
}

class Messages {
  // me: the reader's id, or null; act(button, entry): what may be done to a message is asked for
  constructor(log, me, act) {
    this.log = log;
    this.list = log.querySelector(".chat-list");
    this.me = me;
    this.act = act;
    this.shown = new Map(); // entries with their elements, by number
  }

  // Does something to the list that no screen reader is to read out.
  quietly(change) {
    this.log.setAttribute("aria-live", "off");
    change();
    clearTimeout(this.loud);
    this.loud = setTimeout(() => this.log.setAttribute("aria-live", "polite"), 500);
  }

  clear() {
    this.list.replaceChildren();
    this.shown.clear();
  }

  append(entries) {
    for (const entry of entries) {
      if (entry.kind === "deletion") {
        this.remove(entry.target);
      } else {
        const drawn = this.draw(entry);
        this.arrange(this.last(), drawn);
        this.list.append(drawn);
      }
    }
  }

  prepend(entries) {
    const drawn = entries.filter((entry) => entry.kind !== "deletion").map((entry) => this.draw(entry));
    const first = this.items()[0];
    this.list.querySelector(".chat-day")?.remove(); // the first; it is put where its day now begins
    const ahead = document.createDocumentFragment();
    let before = null;
    for (const item of drawn) {
      this.arrange(before, item, ahead);
      ahead.append(item);
      before = item;
    }
    if (first) this.arrange(before, first, ahead);
    this.list.prepend(ahead);
  }

  // Takes the oldest away, down to so many; returns the number of the first that is left.
  shorten(most) {
    const items = this.items();
    if (items.length <= most) return null;
    const first = items[items.length - most];
    for (const item of items.slice(0, -most)) this.shown.delete(item.entry.number);
    while (this.list.firstElementChild !== first) this.list.firstElementChild.remove();
    this.arrange(null, first);
    return first.entry.number;
  }

  // The text of a message goes; that there was one stays.
  remove(number) {
    const item = this.shown.get(number);
    if (!item) return;
    item.entry = { ...item.entry, deleted: true, text: "" };
    this.drawAgain(item);
  }

  drawAgain(item) {
    const hadFocus = item.contains(document.activeElement);
    item.replaceChildren(...this.content(item.entry));
    if (hadFocus) item.focus();
  }

  // Everything anew, since what the reader may do has changed.
  redraw() {
    this.quietly(() => {
      for (const item of this.items()) this.drawAgain(item);
    });
  }

  items() {
    return [...this.list.querySelectorAll(".chat-entry")];
  }

  last() {
    return this.items().at(-1) || null;
  }

  // The date between two messages of different days; one heading for messages of one person that follow each other.
  arrange(before, item, place = null) {
    const at = new Date(item.entry.at);
    const earlier = before ? new Date(before.entry.at) : null;
    const isNewDay = !earlier || earlier.toDateString() !== at.toDateString();
    if (isNewDay) {
      const day = make("li", "chat-day", DAY.format(at));
      if (place) place.append(day);
      else if (item.parentNode) item.before(day);
      else this.list.append(day);
    }
    const follows =
      !isNewDay && item.entry.kind === "message" && before.entry.kind === "message" &&
      before.entry.author?.id === item.entry.author?.id && at - earlier < TOGETHER;
    item.classList.toggle("chat-follows", follows);
  }

  draw(entry) {
    const item = make("li", `chat-entry chat-${entry.kind}`);
    item.entry = entry;
    item.tabIndex = -1; // where the focus goes when a menu's button is gone
    item.dataset.number = entry.number;
    if (entry.author && entry.author.id === this.me) item.classList.add("chat-own");
    item.append(...this.content(entry));
    this.shown.set(entry.number, item);
    return item;
  }

  content(entry) {
    const at = new Date(entry.at);
    const time = make("time", "", CLOCK.format(at));
    time.dateTime = entry.at;
    time.title = MOMENT.format(at);
    if (entry.kind === "notice") return [make("p", "chat-text", entry.text, " ", time)];
    const author = make("bdi", "chat-author", entry.author?.name || "Somebody who has left");
    const head = make("p", "chat-head", author, " ");
    if (entry.author && entry.author.id === this.me) head.append(make("span", "visually-hidden", "(you) "));
    if (entry.author?.staff) head.append(make("span", "badge", "staff"), " ");
    head.append(time);
    const text = make("p", entry.deleted ? "chat-text quiet" : "chat-text");
    text.dir = "auto";
    text.append(...(entry.deleted ? ["This message was deleted."] : linked(entry.text)));
    const content = [head, text];
    if (!entry.deleted && this.act.isPossible(entry)) {
      const open = makeButton("⋯", "chat-act", () => this.act.open(open, entry));
      open.setAttribute("aria-haspopup", "menu");
      open.setAttribute("aria-expanded", "false");
      open.setAttribute("aria-label", `Act on the message of ${entry.author?.name || "somebody who has left"}, ${CLOCK.format(at)}`);
      content.push(open);
    }
    return content;
  }
}

// Those that are on their way, below the others. The focus stays on the button that had it, or goes to where one writes.
function drawOutbox(list, items, { tryAgain, discard }, writing) {
  const held = list.contains(document.activeElement) ? document.activeElement.dataset.press : null;
  const drawn = items.filter((item) => !item.isShown).map((item) => {
    const state = make("p", "chat-state", item.problem || "sending …");
    const shown = make("li", item.problem ? "chat-entry chat-own chat-failed" : "chat-entry chat-own chat-sending");
    shown.append(make("p", "chat-text", item.text), state);
    if (item.problem) {
      state.append(
        " ",
        makeButton("Try again", "button button-plain", () => tryAgain(item.id)),
        " ",
        makeButton("Discard", "button button-plain", () => discard(item.id)),
      );
      for (const button of state.querySelectorAll("button")) button.dataset.press = `${button.textContent} ${item.id}`;
    }
    return shown;
  });
  list.replaceChildren(...drawn);
  list.hidden = !drawn.length;
  if (held === null) return;
  const again = [...list.querySelectorAll("button")].find((button) => button.dataset.press === held);
  (again || writing).focus();
}
