// A room: what comes over the line is shown, what is written goes out, and where either fails the page says so.
"use strict";

const AT_ONCE = 50; // entries that are asked for
const MOST_SHOWN = 600; // messages in the page while it is read at the end; the older ones are loaded again on demand
const MOST_MISSED = 2000; // entries; who has missed more begins anew at the end
const ANSWER_WITHIN = 10_000; // milliseconds
const NOT_SENT = "It was not sent."; // nor will it be: the line has ended

const ENDS = {
  1008: ["The site has closed the connection: too much came from here at once.", "again"],
  1009: ["The site has closed the connection: the message was too large.", "again"],
  4401: ["You are signed out.", "sign in"],
  4403: ["This room is for members, and your membership has ended.", "plans"],
  banned: ["A moderator has shown you out of this room.", "why"],
  4404: ["This room is not there any more.", "rooms"],
  4429: ["The chat is open in too many places at once. Close it in another window first.", "again"],
};

for (const page of document.querySelectorAll(".chat")) room(page);

function room(page) {
  const { slug, socket, signIn, plans, rooms } = page.dataset;
  const me = page.dataset.me ? Number(page.dataset.me) : null;
  const key = (what) => `chat:${slug}:${me ?? "guest"}:${what}`;
  const part = (name) => page.querySelector(`.chat-${name}`);
  const log = part("log"), older = part("older"), beginning = part("beginning"), outboxList = part("outbox");

  const served = [...log.querySelectorAll(".chat-entry")].map(entryOf);
  const transcript = new Transcript(Number(log.dataset.first), Number(log.dataset.last));
  const asked = []; // what moderators asked for, and is not answered yet: answers come in that order
  let caughtUpAt = Infinity; // the room's last number when the line was opened: what is up to there is no news
  let slowSeconds = 0;
  let isWhole = false; // whether the server has nothing older: what is too old is deleted there
  let loadingOlder = 0; // the timers of two questions
  let filling = 0;
  let wanted = 0; // up to where the server counts on our knowing everything
  let you = null;
  let isLive = true;

  const acting = new Acting(page.querySelector("dialog"), me, act);
  const messages = new Messages(log, me, acting);
  const reading = new Reading(log, part("newest"), key("read"));
  const composer = new Composer(part("composer"), key("draft"), (text) => {
    outbox.add(text);
    reading.said();
  });
  const line = new Line(address, { state: showState, message: heard, ended });
  const outbox = new Outbox(key("outbox"), (message) => line.send(message), showOutbox);

  messages.quietly(() => {
    messages.clear();
    messages.append(served);
  });
  showOutbox();
  showOlder();
  reading.begin(messages.items(), transcript.last, isMine);
  if (me !== null) part("composer").hidden = false;
  older.addEventListener("click", loadOlder);
  log.addEventListener("scroll", () => { if (log.scrollTop < 80) loadOlder(); }, { passive: true });
  line.connect();

  function address() {
    const found = new URL(socket, location.href);
    found.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    found.searchParams.set("after", transcript.last);
    return found.href;
  }

  // Whether the page is somebody's, and the line a guest's: the session ended while the line was down.
  function isSignedOut() {
    return me !== null && you?.id === null;
  }

  function isMine(entry) {
    return Boolean(entry.author) && entry.author.id === me;
  }

  // --- What comes ---

  function heard(message) {
    const deal = {
      hello, entry: (one) => take([one]), history, ack, standing, present, error, done,
      status: ({ live }) => { isLive = live; showState(line.state); },
    }[message.type];
    if (deal) deal(message); // what a later server says besides is not for this page
  }

  function hello(message) {
    if (message.you.id !== null && message.you.id !== me) {
      location.reload(); // somebody else has signed in meanwhile, in another window
      return;
    }
    isLive = true;
    forgetAsked();
    stopLoading();
    composer.most = message.most_characters;
    caughtUpAt = message.last;
    wanted = message.after;
    stopFilling();
    if (message.after > transcript.last + MOST_MISSED || message.last < transcript.last) beginAnew(message.last);
    fillGap();
    standing(message);
    showState(line.state);
    if (isSignedOut()) outbox.fail("You are signed out.");
    else outbox.go();
  }

  function beginAnew(last) {
    isWhole = false;
    transcript.begin(last + 1, last);
    messages.quietly(() => messages.clear());
    showOlder();
    loadOlder();
  }

  function take(entries) {
    const next = transcript.take(entries);
    fillGap();
    if (!next.length) return;
    for (const entry of next) if (isMine(entry) && entry.kind === "message") outbox.seen(entry.text);
    const news = next.filter((entry) => entry.kind === "message" && !isMine(entry));
    const change = () => messages.append(next);
    const isMissed = next[0].number <= caughtUpAt; // while the line was down
    reading.below(() => (isMissed ? messages.quietly(change) : change()), {
      last: transcript.last, news, first: (entry) => messages.shown.get(entry.number),
    });
    if (reading.isFollowing) {
      const first = messages.shorten(MOST_SHOWN);
      if (first) {
        transcript.first = first;
        isWhole = false;
      }
    }
    showOlder();
  }

  // Asks for what comes after the last that is known, where something is missing.
  function fillGap() {
    if (filling || !(transcript.hasGap || transcript.last < wanted)) return;
    line.send({ type: "history", after: transcript.last, limit: 100 });
    filling = setTimeout(() => { stopFilling(); fillGap(); }, ANSWER_WITHIN);
  }

  function stopFilling() {
    clearTimeout(filling);
    filling = 0;
  }

  function history(message) {
    if (message.after === undefined) {
      const isAtStart = messages.items().length === 0;
      if (message.before === transcript.first) isWhole = !message.more;
      stopLoading();
      const entries = transcript.takeOlder(message.entries);
      messages.quietly(() => reading.above(() => messages.prepend(entries)));
      if (isAtStart) reading.toEnd();
      showOlder();
    } else {
      stopFilling();
      if (message.entries[0]?.number > transcript.last + 1) {
        beginAnew(caughtUpAt); // what follows the last that is known is deleted by now
        return;
      }
      take(message.entries);
      fillGap();
    }
  }

  function ack({ id }) {
    outbox.acknowledged(id);
    if (slowSeconds && !you.may_moderate) composer.waitFor(slowSeconds);
  }

  function standing(message) {
    const mayModerate = message.you.may_moderate;
    you = message.you;
    slowSeconds = message.room.slow_mode_seconds;
    page.querySelector(".chat-name").textContent = message.room.name;
    page.querySelector(".chat-topic").textContent = message.room.topic;
    composer.may(you);
    if (acting.mayModerate !== mayModerate) {
      acting.mayModerate = mayModerate;
      acting.close();
      messages.redraw();
    }
  }

  function present({ people = 0, guests = 0 }) {
    const parts = [];
    if (people) parts.push(`${people} ${people === 1 ? "person" : "people"}`);
    if (guests) parts.push(`${guests} guest${guests === 1 ? "" : "s"}`);
    part("present").textContent = parts.length ? `${parts.join(" and ")} here now` : "";
  }

  function error(message) {
    if (message.ref) {
      if (message.code === "slow_mode") composer.waitFor(message.retry_after || slowSeconds);
      const problem = outbox.refused(message);
      if (problem) tell(`Not sent: ${problem}`);
    } else if (asked.length) {
      asked.shift();
      tell(message.detail);
    } else {
      stopLoading(); // a question that came too fast
    }
  }

  function done() {
    const message = asked.shift();
    const said = { delete: "The message is deleted.", report: "Thank you. The moderators will look at it." };
    tell(said[message?.type] || "Done.");
  }

  // --- What goes out ---

  function act(message) {
    if (line.send(message)) asked.push(message);
    else tell("Nothing was done: there is no connection. Try again when it is back.");
  }

  // Whether it was done before the line went down, nobody knows.
  function forgetAsked() {
    if (asked.length) tell("The connection was lost before there was an answer: look whether it was done, or do it again.");
    asked.length = 0;
  }

  function hasOlder() {
    return transcript.first > 1 && !isWhole;
  }

  function loadOlder() {
    if (loadingOlder || !hasOlder()) return;
    if (!line.send({ type: "history", before: transcript.first, limit: AT_ONCE })) return;
    loadingOlder = setTimeout(stopLoading, ANSWER_WITHIN);
    showOlder();
  }

  function stopLoading() {
    clearTimeout(loadingOlder);
    loadingOlder = 0;
    showOlder();
  }

  // --- What the page says of itself ---

  function showOutbox() {
    drawOutbox(outboxList, outbox?.items || [], {
      tryAgain: (id) => {
        outbox.tryAgain(id);
        if (line.state === "ended") outbox.fail(NOT_SENT);
      },
      discard: (id) => outbox.discard(id),
    }, page.querySelector("#chat-text"));
    if (reading.isFollowing) reading.toEnd();
  }

  function showOlder() {
    older.hidden = !hasOlder();
    older.setAttribute("aria-disabled", String(Boolean(loadingOlder)));
    beginning.hidden = !older.hidden;
  }

  function showState(state) {
    page.dataset.state = state;
    if (state === "open" && isSignedOut()) say("You are signed out: you can read, and not write.", goOn("sign in"));
    else if (state === "open" && !isLive) say("Messages from others may arrive a few seconds late: reconnecting.");
    else if (state === "open") say("");
    else if (state === "waiting") {
      const words = navigator.onLine
        ? "The connection is lost. Reconnecting … What you write is sent when it is back."
        : "You are offline. What you write is sent when you are back.";
      say(words, makeButton("Try now", "button button-plain", () => line.check()));
    }
  }

  function ended(code, reason) {
    const [words, way] = ENDS[reason] || ENDS[code] || ["The site has closed the connection.", "again"];
    say(words, goOn(way));
    forgetAsked();
    if (me !== null) {
      outbox.fail(NOT_SENT);
      composer.end("You are not in the room.");
    }
    part("present").textContent = "";
  }

  function goOn(way) {
    const ways = {
      "sign in": ["Sign in again", `${signIn}?next=${encodeURIComponent(location.pathname)}`],
      plans: ["See the plans", plans],
      rooms: ["To the rooms", rooms],
      why: ["Why, and until when", location.href],
      again: ["Try again", location.href],
    };
    const [text, target] = ways[way];
    const made = make("a", "", text);
    made.href = target;
    return made;
  }

  // Stands until something else is so.
  function say(text, ...more) {
    const place = part("status");
    if (place.dataset.text === text) return;
    place.dataset.text = text;
    place.replaceChildren(...(text ? [text, ...more.flatMap((one) => [" ", one])] : []));
  }

  // Said once, of something that was done.
  function tell(text) {
    const place = part("told");
    place.textContent = text;
    clearTimeout(place.timer);
    place.timer = setTimeout(() => { place.textContent = ""; }, 8000);
  }
}
