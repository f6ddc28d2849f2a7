// What may be done to a message: a menu at it, and a dialogue that asks for the reason before anything is done.
"use strict";

const MINUTE = 1, HOUR = 60, DAY_LONG = 1440; // minutes

class Acting {
  // dialogue: the page's; me: the reader's id; ask(message): sends what is to be done
  constructor(dialogue, me, ask) {
    this.dialogue = dialogue;
    this.me = me;
    this.ask = ask;
    this.mayModerate = false;
    this.menu = null;
    document.addEventListener("click", (event) => {
      if (this.menu && !this.menu.contains(event.target) && event.target !== this.button) this.close();
    });
    const form = dialogue.querySelector("form");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const reason = form.elements.reason.value.trim();
      dialogue.close();
      this.ask(this.chosen.asks.withReason ? { ...this.chosen.message, reason } : this.chosen.message);
    });
    dialogue.querySelector("[data-cancel]").addEventListener("click", () => dialogue.close());
    dialogue.addEventListener("close", () => (this.button.isConnected ? this.button : this.item).focus());
  }

  isPossible(entry) {
    return this.me !== null && entry.kind === "message" && this.choices(entry).length > 0;
  }

  choices(entry) {
    const { number, author } = entry;
    const remove = {
      label: "Delete …", act: "Delete", title: "Delete this message?",
      words: "Its text is gone for everybody, for good. That there was a message stays.", isDanger: true,
      message: { type: "delete", number },
    };
    if (author && author.id === this.me) return [{ ...remove, asks: {} }];
    const report = {
      label: "Report …", act: "Report", title: "Report this message?",
      words: "The moderators look at it. Whoever wrote it does not learn who reported it.",
      message: { type: "report", number }, asks: { withReason: true },
    };
    if (!this.mayModerate) return author ? [report] : [];
    const found = [{ ...remove, asks: { withReason: true } }];
    if (!author) return found;
    const { id: user, name } = author;
    const restrict = (action, minutes, length) => {
      const verb = action === "mute" ? "Mute" : "Ban";
      return {
        label: `${verb} ${length} …`, act: `${verb} ${length}`, title: `${verb} ${name} ${length}?`,
        words: action === "mute" ? `${name} can read, and not write in this room.` : `${name} is shown out of this room, and cannot come back.`,
        message: { type: "restrict", action, user, ...(minutes ? { minutes } : {}) }, isDanger: action === "ban",
        asks: { withReason: true, isNeeded: true },
      };
    };
    const lift = (action, what) => ({
      label: `Lift the ${what} …`, act: `Lift the ${what}`, title: `Lift the ${what} of ${name}?`,
      words: `If there is one in this room.`, message: { type: "lift", action, user }, asks: {},
    });
    return [
      ...found,
      restrict("mute", 10 * MINUTE, "for 10 minutes"),
      restrict("mute", HOUR, "for 1 hour"),
      restrict("mute", DAY_LONG, "for 1 day"),
      lift("mute", "mute"),
      restrict("ban", DAY_LONG, "for 1 day"),
      restrict("ban", 0, "until it is lifted"),
      lift("ban", "ban"),
    ];
  }

  open(button, entry) {
    const isOpen = this.button === button && this.menu;
    this.close();
    if (isOpen) return;
    this.button = button;
    this.item = button.closest(".chat-entry");
    const menu = make("div", "chat-menu");
    menu.setAttribute("role", "menu");
    menu.setAttribute("aria-label", button.getAttribute("aria-label"));
    for (const choice of this.choices(entry)) {
      const item = makeButton(choice.label, "", () => this.choose(choice, entry));
      item.setAttribute("role", "menuitem");
      item.tabIndex = -1;
      menu.append(item);
    }
    menu.addEventListener("keydown", (event) => this.keys(event));
    button.setAttribute("aria-expanded", "true");
    button.after(menu);
    this.menu = menu;
    menu.scrollIntoView({ block: "nearest" });
    menu.firstElementChild.focus({ preventScroll: true });
  }

  keys(event) {
    const items = [...this.menu.children];
    const index = items.indexOf(document.activeElement);
    const to = {
      ArrowDown: (index + 1) % items.length,
      ArrowUp: (index - 1 + items.length) % items.length,
      Home: 0,
      End: items.length - 1,
    }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      items[to].focus();
    } else if (event.key === "Escape") {
      this.close();
      this.button.focus();
    } else if (event.key === "Tab") {
      this.button.focus(); // from where the browser goes on
      this.close();
    }
  }

  close() {
    if (!this.menu) return;
    this.menu.remove();
    this.menu = null;
    this.button.setAttribute("aria-expanded", "false");
  }

  choose(choice, entry) {
    this.close();
    this.chosen = choice;
    const { dialogue } = this;
    dialogue.querySelector("h2").textContent = choice.title;
    dialogue.querySelector("[data-words]").textContent = choice.words;
    dialogue.querySelector("[data-message]").textContent = entry.text;
    const field = dialogue.querySelector("[data-reason]");
    field.hidden = !choice.asks.withReason;
    const reason = field.querySelector("input");
    reason.value = "";
    reason.disabled = field.hidden;
    reason.required = Boolean(choice.asks.isNeeded);
    field.querySelector("[data-optional]").hidden = reason.required;
    const act = dialogue.querySelector("[type=submit]");
    act.textContent = choice.act;
    act.classList.toggle("button-danger", Boolean(choice.isDanger));
    dialogue.showModal();
    (field.hidden ? act : reason).focus();
  }
}
