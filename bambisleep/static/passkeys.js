// A passkey that was not given is said on the page; allauth's scripts write it to the console only.
"use strict";

document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  document.getElementById("passkey-error").hidden = false;
});
