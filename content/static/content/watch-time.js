// Watch time: measures for how long a recording really plays, and tells the site.
//
// What counts is the clock on the wall while the recording advances: not while it is paused, stalled or being searched,
// and at double speed half of what was seen. Everything that is told is since the page was loaded, so that what gets
// lost on the way is told again by the next beacon. The server bounds it all (content/viewings.py).
"use strict";

for (const player of document.querySelectorAll(".player")) {
  if (player.dataset.token) watch(player, player.querySelector("video, audio"));
}

function watch(player, media) {
  const EVERY = Number(player.dataset.every) * 1000; // milliseconds, as all that follow
  const SAMPLE = 250;
  const MOST_OFTEN = 1000;
  const MOST_PATIENCE = 60_000;
  const MOST_SEGMENTS = 50;

  let played = 0;
  let segments = []; // [from, to] in the recording, in seconds, ascending
  let last = null; // the latest sample
  let sequence = 0;
  let told = ""; // what was told last, to tell nothing twice
  let toldAt = -Infinity;
  let patience = EVERY; // until what was not taken is told again
  let again = 0; // the timer for that
  let stopped = false;

  function sample() {
    const now = performance.now();
    if (media.seeking) {
      jumped();
    } else if (last && last.runs) {
      const advanced = (media.currentTime - last.position) / last.rate * 1000;
      if (advanced > 0) played += Math.min(now - last.now, advanced);
      if (advanced > 0 && advanced < now - last.now + SAMPLE) remember(last.position, media.currentTime);
    }
    const runs = !media.paused && !media.ended && !media.seeking;
    last = { now, runs, position: media.currentTime, rate: media.playbackRate || 1 };
  }

  // By now the recording stands where it was put: what played before that shows on the clock alone.
  function jumped() {
    if (last && last.runs) played += Math.min(performance.now() - last.now, SAMPLE);
    last = null;
  }

  function remember(from, to) {
    const merged = [];
    for (const [begin, end] of [...segments, [from, to]].sort((one, other) => one[0] - other[0])) {
      const previous = merged[merged.length - 1];
      if (previous && begin <= previous[1] + 0.01) previous[1] = Math.max(previous[1], end);
      else merged.push([begin, end]);
    }
    while (merged.length > MOST_SEGMENTS) {
      const gaps = merged.slice(1).map(([begin], index) => begin - merged[index][1]);
      const smallest = gaps.indexOf(Math.min(...gaps));
      merged[smallest][1] = merged[smallest + 1][1];
      merged.splice(smallest + 1, 1);
    }
    segments = merged;
  }

  function words() {
    const inSeconds = (number) => Math.round(number * 1000) / 1000;
    return {
      played: inSeconds(played / 1000),
      position: inSeconds(media.currentTime || (last ? last.position : 0)),
      duration: Number.isFinite(media.duration) ? inSeconds(media.duration) : null,
      segments: segments.map((segment) => segment.map(inSeconds)),
    };
  }

  function tell({ leaving = false } = {}) {
    if (stopped || played < 1000) return;
    const saying = words();
    if (JSON.stringify(saying) === told) return;
    const wait = toldAt + MOST_OFTEN - performance.now();
    if (!leaving && wait > 0) return later(wait);
    clearTimeout(again);
    again = 0;
    told = JSON.stringify(saying);
    toldAt = performance.now();
    sequence += 1;
    const body = JSON.stringify({ token: player.dataset.token, ...device(player), sequence, ...saying });
    if (leaving && navigator.sendBeacon) {
      navigator.sendBeacon(player.dataset.beacons, new Blob([body], { type: "application/json" }));
    } else {
      send(body);
    }
  }

  async function send(body) {
    let status = 0, detail = "";
    try {
      const headers = { "Content-Type": "application/json" };
      const answer = await fetch(player.dataset.beacons, { method: "POST", body, headers, keepalive: true });
      status = answer.status;
      if (!answer.ok) detail = (await answer.json()).detail;
    } catch {
      // No network: `online` or patience.
    }
    if (status === 200) {
      patience = EVERY;
    } else if (status >= 400 && status < 500 && status !== 429) {
      stopped = true; // no other beacon of this page will be taken either
      const say = speaker(player.querySelector(".player-status")); // of player.js, as `link` is
      say(`Where you are in it is not kept any more. ${detail}`, link("Reload the page", location.href));
    } else {
      told = "";
      later(patience);
      patience = Math.min(patience * 2, MOST_PATIENCE);
    }
  }

  function later(milliseconds) {
    if (again) return;
    again = setTimeout(() => {
      again = 0;
      sample();
      tell();
    }, milliseconds);
  }

  function now() {
    sample();
    tell();
  }

  function leave() {
    sample();
    tell({ leaving: true });
  }

  setInterval(() => {
    sample();
    if (last.runs && performance.now() - toldAt >= EVERY && !again) tell();
  }, SAMPLE);
  for (const name of ["play", "playing", "waiting", "timeupdate", "ratechange", "seeked"]) {
    media.addEventListener(name, sample);
  }
  for (const name of ["pause", "ended"]) media.addEventListener(name, now);
  media.addEventListener("seeking", jumped);
  media.addEventListener("emptied", () => { last = null; });
  window.addEventListener("online", () => { told = ""; now(); });
  window.addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); });
}

// A browser in which nobody is signed in is told apart by a number of chance that says nothing of it.
function device(player) {
  if (!("stranger" in player.dataset)) return {};
  try {
    let kept = localStorage.getItem("player-device");
    if (!/^[0-9a-f]{32}$/.test(kept || "")) {
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      kept = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
      localStorage.setItem("player-device", kept);
    }
    return { device: kept };
  } catch {
    return {}; // nothing is kept here: each page load stands for itself
  }
}
