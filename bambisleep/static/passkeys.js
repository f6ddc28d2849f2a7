// A passkey that was not given is said on the page; allauth's scripts write it to the console only.
"use strict";

document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  const message = document.getElementById("passkey-error");
  document.getElementById("main").prepend(message);
  message.hidden = false;
});
