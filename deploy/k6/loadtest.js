// Visitors and members of a running site, as k6 plays them:
//
//   k6 run --vus 10 --duration 30s loadtest.js        (make loadtest)
//
// BASE_URL says where the site is (http://localhost:3000). Each run opens one account, k6-…@example.invalid;
// LOADTEST_USERNAME and LOADTEST_PASSWORD name an existing one instead. Each virtual user signs in once, and then keeps
// its tokens as a browser keeps its session: the limits on sign-ins stay on, and where they answer 429 the user goes on
// as a guest (`sign_ins_limited` counts how often). LOADTEST_P95_MS is what 95 % of the answers must keep (1000).
//
// They look around in the library and open what they find there, a page at a time. Of a film or recording they load two
// parts, as a player does that was moved, and tell of a moment's watching (`films_watched` counts them); a library
// without any is no failure.
//
// In the chat they enter a room that is open to everyone, by their token where they have one: those say something and
// wait until it is stored (`chats_spoken`), and leave. Whoever is told to be slower leaves too; a site without a room is
// no failure.
import { check, sleep } from "k6";
import { hexEncode, randomBytes } from "k6/crypto";
import exec from "k6/execution";
import http from "k6/http";
import { Counter } from "k6/metrics";
import ws from "k6/ws";

const BASE_URL = (__ENV.BASE_URL || "http://localhost:3000").replace(/\/+$/, "");
const SECONDS_BETWEEN_SIGN_INS = 300;
const SEARCHED = ["sleep", "light", "breath", "nothing-is-called-this"];
const ITEM = /^\/content\/[\w-]+\/$/;
const PLAYED = "main video source[src], main video[src], main audio source[src], main audio[src]";
const OPEN_ROOMS = "main .chat-rooms .card:has(.badge.success) h2 a";
const ROOM = /^\/chat\/[\w-]+\/$/;
const LONGEST_TALK_MS = 20000;
const SLOWER = ["too_fast", "slow_mode"];
const TOO_MANY = 4429; // connections of one account or address

// What people do, and how often out of the sum of the weights.
const ACTIONS = [
  [30, home],
  [10, delivery],
  [5, schema],
  [15, library],
  [35, item],
  [10, search],
  [10, chat],
  [40, account],
  [10, refresh],
  [3, signOut],
  [2, missing],
];

export const options = {
  vus: 10,
  duration: "30s",
  thresholds: {
    http_req_failed: ["rate<0.01"],
    http_req_duration: [`p(95)<${__ENV.LOADTEST_P95_MS || 1000}`],
    checks: ["rate>0.99"],
  },
};

const signInsLimited = new Counter("sign_ins_limited");
const filmsWatched = new Counter("films_watched");
const chatsSpoken = new Counter("chats_spoken");

// A virtual user's own: its tokens while it is signed in, and when it may sign in again.
let session = null;
let nextSignIn = 0;
// The items that it saw in the library's list, by their addresses; and what tells its browser from a stranger's.
let seen = [];
const device = hexEncode(randomBytes(16)).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");

/** Find the site, and an account: what it returns, every virtual user gets. */
export function setup() {
  const answer = http.get(`${BASE_URL}/`);
  if (answer.status === 0) {
    abort(`No answer from ${BASE_URL}/ (${answer.error}). Start the site with \`make run\`, or say where it is with BASE_URL.`);
  }
  return __ENV.LOADTEST_USERNAME ? existingAccount() : newAccount();
}

/** One thing that somebody does, and the time to look at it. */
export default function (credentials) {
  pick(ACTIONS)(credentials);
  sleep(0.5 + Math.random());
}

function home() {
  const page = http.get(`${BASE_URL}/`);
  check(page, { "the home page is there": (answer) => answer.status === 200 && answer.body.includes("</html>") });
  const stylesheet = page.status === 200 && page.html("link[rel=stylesheet]").first().attr("href");
  if (stylesheet) {
    check(http.get(absolute(stylesheet)), { "its stylesheet is there": (answer) => answer.status === 200 });
  }
}

function delivery() {
  const answer = http.get(`${BASE_URL}/dora`);
  check(answer, { "/dora has the measures": (answer) => answer.status === 200 && answer.body.includes('"measures"') });
}

function schema() {
  const answer = http.get(`${BASE_URL}/api/schema`);
  check(answer, { "the API describes itself": (answer) => answer.status === 200 });
}

function library() {
  const page = http.get(`${BASE_URL}/content/`);
  check(page, { "the library is there": (answer) => answer.status === 200 && answer.body.includes("</html>") });
  if (page.status === 200) {
    seen = addresses(page, "main .entry-title a", "href").filter((href) => ITEM.test(href));
  }
}

function search() {
  const page = http.get(`${BASE_URL}/content/search/?q=${anyOf(SEARCHED)}`, { tags: { name: "search" } });
  check(page, { "the library may be searched": (answer) => answer.status === 200 && answer.body.includes("</html>") });
}

function item() {
  if (seen.length === 0) {
    library();
  }
  if (seen.length === 0) {
    return; // nothing is published
  }
  const page = http.get(`${BASE_URL}${anyOf(seen)}`);
  check(page, { "an item may be opened": (answer) => answer.status === 200 && answer.body.includes("</html>") });
  const source = page.status === 200 && addresses(page, PLAYED, "src")[0];
  if (source) {
    watch(page, source);
  }
}

function watch(page, source) {
  const address = absolute(source);
  const beginning = part(address, "bytes=0-65535");
  const bytes = ((beginning.headers["Content-Range"] || "").match(/\/(\d+)$/) || [])[1];
  check(beginning, { "a film begins": (answer) => answer.status === 206 && Number(bytes) > 0 });
  if (bytes) {
    const half = Math.floor(bytes / 2);
    const middle = part(address, `bytes=${half}-${half + 65535}`);
    check(middle, { "a film goes on from where it was moved to": (answer) => answer.status === 206 });
  }
  filmsWatched.add(1);
  tell(page);
}

/** What a player tells when it is left again: half a second, which is too short to count as watched. */
function tell(page) {
  const token = addresses(page, "main [data-beacons]", "data-token")[0];
  if (token) {
    const played = { token, device, sequence: 1, played: 0.5, position: 0.5, segments: [[0, 0.5]] };
    const answer = post("/watch/beacons/", played, 200);
    check(answer, { "a player is heard": (answer) => answer.status === 200 || limited(answer) });
  }
}

/** A part of a file; what is expected is no more than that, so that a whole film in answer is a failure. */
function part(address, range) {
  return http.get(address, {
    headers: { Range: range },
    responseType: "none",
    responseCallback: http.expectedStatuses(206),
    tags: { name: "part of a film" },
  });
}

function chat(credentials) {
  const isMember = signedIn(credentials);
  const page = http.get(`${BASE_URL}/chat/`);
  check(page, { "the rooms are there": (answer) => answer.status === 200 && answer.body.includes("</html>") });
  const room = page.status === 200 && addresses(page, OPEN_ROOMS, "href").filter((href) => ROOM.test(href))[0];
  if (room) {
    talk(`${origin().replace(/^http/, "ws")}/ws${room}`, isMember);
  }
}

/** Enter a room; say something, as a member; ask whether the site is there, and leave. */
function talk(address, isMember) {
  const id = hexEncode(randomBytes(16));
  const end = { said: false, stored: false, answered: false, limited: false };
  const answer = ws.connect(address, { tags: { name: "chat" } }, (socket) => {
    const send = (message) => socket.send(JSON.stringify(message));
    socket.on("open", () => send(isMember ? { type: "auth", token: session.access } : { type: "ping" }));
    socket.on("message", (text) => {
      const message = JSON.parse(text);
      if (message.you && message.you.may_write && !end.said) {
        end.said = true;
        send({ type: "chat", id, text: "Good night, everybody." });
      } else if (message.type === "ack" && message.id === id) {
        end.stored = true;
        chatsSpoken.add(1);
        send({ type: "ping" });
      } else if (message.type === "error") {
        end.limited = SLOWER.includes(message.code);
        socket.close();
      } else if (message.type === "pong") {
        end.answered = true;
        socket.close();
      }
    });
    socket.on("close", (code) => (end.limited = end.limited || code === TOO_MANY));
    socket.setTimeout(() => socket.close(), LONGEST_TALK_MS);
  });
  check(answer, { "a room may be entered": (answer) => answer && answer.status === 101 });
  check(end, { "the chat answers": (end) => end.answered || end.limited });
  if (isMember) {
    check(end, { "a member may speak": (end) => end.stored || end.limited });
  }
}

function missing() {
  const answer = http.get(`${BASE_URL}/nothing-is-here`, {
    responseCallback: http.expectedStatuses(404),
    tags: { expected: "404" },
  });
  check(answer, { "what is not there is a 404": (answer) => answer.status === 404 });
}

function account(credentials) {
  if (!signedIn(credentials)) {
    return home();
  }
  const answer = http.get(`${BASE_URL}/auth/me`, { headers: { Authorization: `Bearer ${session.access}` } });
  check(answer, { "a member is known": (answer) => answer.status === 200 && answer.body.includes('"username"') });
}

function refresh(credentials) {
  if (!signedIn(credentials)) {
    return home();
  }
  renew();
}

function signOut(credentials) {
  if (!signedIn(credentials)) {
    return home();
  }
  const answer = postCredentials("/auth/logout", { refresh: session.refresh }, 204);
  check(answer, { "a member may leave": (answer) => answer.status === 204 || limited(answer) });
  session = null;
}

/** Whether this virtual user has good tokens; it gets them first where it may. */
function signedIn(credentials) {
  if (session && Date.now() > session.renewAt) {
    renew();
  }
  if (!session && credentials && Date.now() > nextSignIn) {
    nextSignIn = Date.now() + SECONDS_BETWEEN_SIGN_INS * 1000;
    fetchTokens("/auth/login", credentials, "a member may enter");
  }
  return session !== null;
}

function renew() {
  fetchTokens("/auth/refresh", { refresh: session.refresh }, "a member may stay");
}

function fetchTokens(path, body, sentence) {
  const answer = postCredentials(path, body, 200);
  const given = answer.status === 200 && answer.body.includes('"access"');
  check(answer, { [sentence]: (answer) => given || limited(answer) });
  session = given ? answer.json() : null;
  if (session) {
    session.renewAt = Date.now() + (session.expires_in / 2) * 1000;
  }
}

function newAccount() {
  const name = `k6-${hexEncode(randomBytes(6))}`;
  const password = hexEncode(randomBytes(16));
  const answer = postCredentials("/auth/register", { username: name, email: `${name}@example.invalid`, password }, 201);
  if (!check(answer, { "an account may be opened": (answer) => answer.status === 201 || limited(answer) })) {
    console.error(`No account could be opened (${answer.status}): everybody stays a guest.`);
  }
  return answer.status === 201 ? { username: name, password } : null;
}

function existingAccount() {
  const credentials = { username: __ENV.LOADTEST_USERNAME, password: __ENV.LOADTEST_PASSWORD || "" };
  const answer = postCredentials("/auth/login", credentials, 200);
  if (answer.status !== 200 && !limited(answer)) {
    abort(`LOADTEST_USERNAME and LOADTEST_PASSWORD do not sign in (${answer.status}): set both, or neither.`);
  }
  return credentials;
}

function post(path, body, expected) {
  return http.post(`${BASE_URL}${path}`, JSON.stringify(body), {
    headers: { "Content-Type": "application/json" },
    responseCallback: http.expectedStatuses(expected, 429),
  });
}

function postCredentials(path, body, expected) {
  const answer = post(path, body, expected);
  signInsLimited.add(limited(answer) ? 1 : 0);
  return answer;
}

function limited(answer) {
  return answer.status === 429;
}

/** What the attribute holds, of each element of a page that the selector finds. */
function addresses(page, selector, attribute) {
  return page
    .html(selector)
    .toArray()
    .map((element) => element.attr(attribute));
}

function absolute(address) {
  return new RegExp("^https?:").test(address) ? address : `${origin()}${address}`;
}

function anyOf(choices) {
  return choices[Math.floor(Math.random() * choices.length)];
}

function origin() {
  return BASE_URL.match(/^https?:\/\/[^/]+/)[0];
}

function abort(sentence) {
  exec.test.abort(sentence);
}

function pick(weighted) {
  const total = weighted.reduce((sum, [weight]) => sum + weight, 0);
  let left = Math.random() * total;
  for (const [weight, action] of weighted) {
    left -= weight;
    if (left < 0) {
      return action;
    }
  }
}
