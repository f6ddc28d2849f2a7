// The line to a room: keeps one WebSocket open, finds out when it is dead, and comes back when it is lost.
//
// What is said over it is the room's business (room.js). A server that closes says by its code whether to come back.
"use strict";

const SUBPROTOCOL = "bambisleep.chat.v1";
const RESTART = 1012; // the process stops, and has told its people one by one: others are there at once
const SHORTEST_PAUSE = 1000; // milliseconds, as all that follow
const LONGEST_PAUSE = 30_000;
const HELLO_WITHIN = 15_000;
const PONG_WITHIN = 10_000;
const STEADY_AFTER = 10_000; // a connection that lasted so long was a good one: the next pause is short again

// Coming back with the same would end the same way.
const isFinal = (code) => code === 1008 || code === 1009 || (code >= 4400 && code !== 4408);

class Line {
  // address(): where to connect; told: { state(name), message(object), ended(code, reason) }
  // The states: connecting, open (hello was said), waiting (lost; it will connect again), ended.
  constructor(address, told) {
    this.address = address;
    this.told = told;
    this.state = "";
    this.attempts = 0;
    this.pingEvery = 25_000;
    window.addEventListener("online", () => this.check());
    window.addEventListener("offline", () => { if (this.state === "open") this.ping(); });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.check(); });
    window.addEventListener("pagehide", () => this.pause());
    window.addEventListener("pageshow", (event) => { if (event.persisted) this.connect(); });
  }

  connect() {
    this.letGo();
    this.become("connecting");
    const socket = new WebSocket(this.address(), [SUBPROTOCOL]);
    this.socket = socket;
    this.deadline = setTimeout(() => this.lost(1006), HELLO_WITHIN);
    socket.addEventListener("message", (event) => { if (socket === this.socket) this.heard(event.data); });
    socket.addEventListener("close", (event) => { if (socket === this.socket) this.lost(event.code, event.reason); });
  }

  // Connects at once where it would have waited; asks whether the other side is there where it seems to be.
  check() {
    if (this.state === "waiting") this.connect();
    else if (this.state === "open") this.ping();
  }

  // Whether it went out; what comes back says whether it arrived.
  send(message) {
    if (this.state !== "open" || this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  heard(text) {
    const message = JSON.parse(text);
    clearTimeout(this.deadline); // whatever it says, it is there
    this.deadline = 0;
    if (message.type === "hello") {
      this.openedAt = performance.now();
      this.pingEvery = message.ping_seconds * 1000;
      this.pings = setInterval(() => this.ping(), this.pingEvery);
      this.become("open");
    } else if (this.state === "connecting") {
      this.deadline = setTimeout(() => this.lost(1006), HELLO_WITHIN); // why it will not be let in
    }
    this.told.message(message);
  }

  ping() {
    if (this.deadline) return; // asked already
    this.deadline = setTimeout(() => this.lost(1006), PONG_WITHIN);
    if (!this.send({ type: "ping" })) this.lost(1006);
  }

  lost(code, reason = "") {
    this.letGo();
    if (isFinal(code)) {
      this.become("ended");
      this.told.ended(code, reason);
      return;
    }
    if (this.openedAt && performance.now() - this.openedAt > STEADY_AFTER) this.attempts = 0;
    this.openedAt = 0;
    const shortest = code === RESTART ? SHORTEST_PAUSE / 4 : SHORTEST_PAUSE;
    const longest = Math.min(shortest * 2 ** this.attempts, LONGEST_PAUSE);
    this.attempts += 1;
    // By chance, so that not all who lost it at once come back at once.
    this.again = setTimeout(() => this.connect(), longest * (0.5 + Math.random() / 2));
    this.become("waiting");
  }

  // The page is left, and may be come back to.
  pause() {
    if (this.state === "ended") return;
    this.letGo();
    this.become("waiting");
  }

  letGo() {
    clearTimeout(this.again);
    clearTimeout(this.deadline);
    clearInterval(this.pings);
    this.deadline = 0;
    const socket = this.socket;
    this.socket = null; // what it says from now on is not heard
    if (socket) socket.close();
  }

  become(state) {
    this.state = state;
    this.told.state(state);
  }
}
