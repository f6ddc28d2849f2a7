// Visitors and members of a running site, as k6 plays them:
//
//   k6 run --vus 10 --duration 30s loadtest.js        (make loadtest)
//
// BASE_URL says where the site is (http://localhost:3000). Each run opens one account, k6-…@example.invalid;
// LOADTEST_USERNAME and LOADTEST_PASSWORD name an existing one instead. Each virtual user signs in once, and then keeps
// its tokens as a browser keeps its session: the limits on sign-ins stay on, and where they answer 429 the user goes on
// as a guest (`sign_ins_limited` counts how often). LOADTEST_P95_MS is what 95 % of the answers must keep (1000).
import { check, sleep } from "k6";
import { hexEncode, randomBytes } from "k6/crypto";
import exec from "k6/execution";
import http from "k6/http";
import { Counter } from "k6/metrics";

const BASE_URL = (__ENV.BASE_URL || "http://localhost:3000").replace(/\/+$/, "");
const SECONDS_BETWEEN_SIGN_INS = 300;

// What people do, and how often out of the sum of the weights.
const ACTIONS = [
  [30, home],
  [10, delivery],
  [5, schema],
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

// A virtual user's own: its tokens while it is signed in, and when it may sign in again.
let session = null;
let nextSignIn = 0;

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
    const address = new RegExp("^https?:").test(stylesheet) ? stylesheet : `${origin()}${stylesheet}`;
    check(http.get(address), { "its stylesheet is there": (answer) => answer.status === 200 });
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
  const answer = post("/auth/logout", { refresh: session.refresh }, 204);
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
  const answer = post(path, body, 200);
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
  const answer = post("/auth/register", { username: name, email: `${name}@example.invalid`, password }, 201);
  if (!check(answer, { "an account may be opened": (answer) => answer.status === 201 || limited(answer) })) {
    console.error(`No account could be opened (${answer.status}): everybody stays a guest.`);
  }
  return answer.status === 201 ? { username: name, password } : null;
}

function existingAccount() {
  const credentials = { username: __ENV.LOADTEST_USERNAME, password: __ENV.LOADTEST_PASSWORD || "" };
  const answer = post("/auth/login", credentials, 200);
  if (answer.status !== 200 && !limited(answer)) {
    abort(`LOADTEST_USERNAME and LOADTEST_PASSWORD do not sign in (${answer.status}): set both, or neither.`);
  }
  return credentials;
}

function post(path, body, expected) {
  const answer = http.post(`${BASE_URL}${path}`, JSON.stringify(body), {
    headers: { "Content-Type": "application/json" },
    responseCallback: http.expectedStatuses(expected, 429),
  });
  signInsLimited.add(limited(answer) ? 1 : 0);
  return answer;
}

function limited(answer) {
  return answer.status === 429;
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
