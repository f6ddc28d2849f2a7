// The player around the browser's own: goes on where one was, speed, keys, and a way back when the source fails.
"use strict";

for (const player of document.querySelectorAll(".player")) {
  const media = player.querySelector("video, audio");
  const say = speaker(player.querySelector(".player-status"));
  goOn(player, media, say);
  const speed = speeds(player, media);
  keys(player, media, speed);
  recover(player, media, say);
  player.querySelector(".player-tools").hidden = false;
}

// Says one thing below the player, with something to press or to follow, until it says another.
function speaker(place) {
  return (text, ...more) => {
    place.replaceChildren();
    if (!text) return;
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    place.append(paragraph, ...more);
  };
}

function button(text, press) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "button button-quiet";
  made.textContent = text;
  made.addEventListener("click", press);
  return made;
}

function link(text, address) {
  const made = document.createElement("a");
  made.href = address;
  made.textContent = text;
  return made;
}

function goOn(player, media, say) {
  const position = Number(player.dataset.position);
  if (!position) return;
  whenReady(media, () => {
    if (media.currentTime > 1) return; // somebody was quicker
    media.currentTime = position;
    const fromStart = button("From the beginning", () => {
      media.currentTime = 0;
      say("");
      media.focus();
    });
    say(`Goes on at ${clock(position)}, where you left off.`, fromStart);
    media.addEventListener("timeupdate", function played() {
      if (media.paused || media.currentTime < position + 5) return;
      media.removeEventListener("timeupdate", played);
      if (fromStart.isConnected && document.activeElement !== fromStart) say("");
    });
  });
}

function whenReady(media, act) {
  if (media.readyState >= HTMLMediaElement.HAVE_METADATA) act();
  else media.addEventListener("loadedmetadata", act, { once: true });
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, "0"));
  const hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${parts.join(":")}` : `${Number(parts[0])}:${parts[1]}`;
}

function kept(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // a browser that keeps nothing
  }
}

function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A browser that keeps nothing.
  }
}

// Returns how to step through the speeds.
function speeds(player, media) {
  const select = player.querySelector("[data-speed]");
  function use() {
    media.defaultPlaybackRate = media.playbackRate = Number(select.value);
  }
  const before = kept("player-speed");
  if ([...select.options].some((option) => option.value === before)) select.value = before;
  use();
  select.addEventListener("change", () => {
    use();
    keep("player-speed", select.value);
  });
  media.addEventListener("ratechange", () => {
    const same = [...select.options].find((option) => Number(option.value) === media.playbackRate);
    if (same) select.value = same.value; // set in the browser's own menu
  });
  return (step) => {
    const index = Math.min(Math.max(select.selectedIndex + step, 0), select.options.length - 1);
    select.selectedIndex = index;
    select.dispatchEvent(new Event("change"));
  };
}

function keys(player, media, speed) {
  const wanted = player.querySelector("[data-keys]");
  wanted.checked = kept("player-keys") !== "off";
  wanted.addEventListener("change", () => keep("player-keys", wanted.checked ? "on" : "off"));

  const to = (seconds) => {
    media.currentTime = Math.min(Math.max(seconds, 0), media.duration || 0);
  };
  const playOrPause = () => (media.paused ? media.play().catch(() => {}) : media.pause());
  const acts = {
    " ": playOrPause,
    k: playOrPause,
    ArrowLeft: () => to(media.currentTime - 5),
    ArrowRight: () => to(media.currentTime + 5),
    j: () => to(media.currentTime - 10),
    l: () => to(media.currentTime + 10),
    m: () => { media.muted = !media.muted; },
    "<": () => speed(-1),
    ">": () => speed(1),
    c: () => captions(media),
    f: () => fullScreen(media),
  };
  for (let tenth = 0; tenth <= 9; tenth += 1) acts[tenth] = () => to(((media.duration || 0) * tenth) / 10);

  document.addEventListener("keydown", (event) => {
    const act = Object.hasOwn(acts, event.key) ? acts[event.key] : undefined;
    if (!act || event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    const isInPlayer = event.target === media;
    if (!isInPlayer && (!wanted.checked || takesKeys(event.target))) return;
    event.preventDefault(); // nor the browser's own act for that key
    act();
  }, { capture: true });
}

// Whether a key pressed there is meant for it: one types into it, presses it, or moves about in it.
function takesKeys(element) {
  return Boolean(element.closest("input, textarea, select, button, a, summary, [contenteditable], [role=region], [tabindex='0'], audio, video"));
}

function captions(media) {
  const tracks = [...media.textTracks].filter((track) => ["captions", "subtitles"].includes(track.kind));
  const shown = tracks.find((track) => track.mode === "showing");
  if (shown) shown.mode = "disabled";
  else if (tracks[0]) tracks[0].mode = "showing";
}

function fullScreen(media) {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (media.tagName === "VIDEO" && media.requestFullscreen) media.requestFullscreen().catch(() => {});
}

// When the source fails: its link may have expired, the network may be gone, or the right to see it.
function recover(player, media, say) {
  const PAUSES = [0, 2, 4, 8, 15, 30, 60]; // seconds before each new attempt
  let attempts = 0;
  let timer = 0;
  let position = 0; // where it stood when it last played
  let plays = false;

  media.addEventListener("timeupdate", () => {
    if (media.error || !media.currentTime) return;
    position = media.currentTime;
    if (!media.paused && media.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA && attempts) {
      attempts = 0;
      say("");
    }
  });
  media.addEventListener("play", () => { plays = true; });
  media.addEventListener("pause", () => { if (!media.error) plays = false; });
  media.addEventListener("error", failed);
  window.addEventListener("offline", () => say("There is no network. What is loaded already plays on."));
  window.addEventListener("online", () => {
    say("");
    if (media.error) {
      attempts = 0;
      failed();
    }
  });
  if (media.error) failed(); // before this script ran

  function failed() {
    clearTimeout(timer);
    if (attempts >= PAUSES.length) {
      say("It cannot be loaded.", button("Try again", () => { attempts = 0; failed(); }));
      return;
    }
    const pause = PAUSES[attempts];
    attempts += 1;
    if (pause) say(`The connection is lost. It is tried again in ${pause} seconds.`);
    timer = setTimeout(renew, pause * 1000);
  }

  async function renew() {
    let answer, told;
    try {
      answer = await fetch(player.dataset.link, { headers: { Accept: "application/json" }, cache: "no-store" });
      told = await answer.json();
    } catch {
      return failed();
    }
    if (answer.status === 403 || answer.status === 404) return refused(told);
    if (!answer.ok || !told.url) return failed();
    const from = position || Number(player.dataset.position);
    const goesOn = plays;
    media.src = told.url;
    whenReady(media, () => {
      media.currentTime = from;
      if (goesOn) media.play().catch(() => {});
    });
  }

  function refused(told) {
    const text = told.detail || "It may not be seen any more.";
    if (told.code === "sign_in") say(text, link("Sign in", player.dataset.signIn));
    else if (told.code === "no_membership" || told.code === "lapsed") say(text, link("See the plans", player.dataset.plans));
    else say(text, link("Reload the page", location.href));
  }
}
