// For the preview only: plays the server and the visitor, around the same popup.js that pages get.
"use strict";

const asked = new URLSearchParams(location.search);
const state = asked.get("state") || "closed";
const phone = asked.get("device") === "phone";

// Nothing is remembered between two looks.
window.clinicConsent = false;

const answer = (body) => Promise.resolve(new Response(JSON.stringify(body)));
const signup = {
  error: () => answer({ problem: "This address has no domain that takes mail. Is there a slip in it?", field: "email" }),
  offline: () => Promise.reject(new TypeError("offline")),
  slow: (signal) => new Promise((_, fail) => signal.addEventListener("abort", () => fail(new Error("too late")))),
};
window.fetch = (url, { signal }) =>
  String(url).endsWith("/popup.json")
    ? answer({ enabled: true, key: "preview" })
    : (signup[state] || (() => answer({ ok: true })))(signal);

// A phone has no pointer that hovers.
const media = window.matchMedia.bind(window);
window.matchMedia = (query) => (phone && query.includes("hover") ? media("not all") : media(query));
let ahead = 0;
const since = performance.now.bind(performance);
performance.now = () => since() + ahead;

// Links lead nowhere from here.
addEventListener("click", (event) => event.composedPath().some((part) => part.href) && event.preventDefault(), true);

const pause = (time) => new Promise((go) => setTimeout(go, time));

async function leaveByPhone() {
  window.matchMedia = (query) => media(query.includes("hover") ? "not all" : query);
  scrollTo(0, document.documentElement.scrollHeight * 0.6);
  await pause(200);
  dispatchEvent(new PointerEvent("pointerdown"));
  ahead = 3600 * 1000;
  document.dispatchEvent(new Event("visibilitychange"));
}

async function openAndSend() {
  scrollTo(0, 500);
  window.FunnelPopup.open();
  if (state === "open") return;
  const root = document.querySelector("funnel-popup").shadowRoot;
  root.querySelector("#email").value = "ann@mail.example";
  root.querySelector("button[type=submit]").click();
}

addEventListener("load", () => {
  if (state === "banner") leaveByPhone();
  else if (state !== "closed") openAndSend();
});
