// The popup: one script, no dependency, no cookie, no other host. It asks a visitor who is about to leave
// for an address, and otherwise leaves the page alone: nothing is in the document while it is closed.
//
// ES2018 on purpose. A browser too old for the syntax never runs it; one without <dialog> stops below,
// before anything changes, and links with data-funnel-open stay ordinary links.
(function () {
  "use strict";

  // The server puts texts, style and limits here; see popup.py.
  const SETUP = "SETUP";
  const WORDS = SETUP.words;
  const SECOND = 1000;
  const DAY = 24 * 3600 * SECOND;
  const ENTRY = "funnel-popup";
  const SVG = "http://www.w3.org/2000/svg";
  const ROBOTS = /bot|crawl|spider|slurp|lighthouse|headless/i;
  const SEARCHES = /^(https?|android-app):\/\/([^/]*\.)?(google|bing|duckduckgo|yahoo|ecosia|yandex|baidu|qwant)\./i;

  const script = document.currentScript;
  const framed = window.top !== window && !(script && script.hasAttribute("data-allow-iframe"));
  const able = window.AbortController && window.HTMLDialogElement && HTMLDialogElement.prototype.showModal;
  // A page builder may insert the script twice; in a frame there is no leaving to see.
  if (window.FunnelPopup || framed || !able) return;

  const now = () => performance.now();
  // Passive and captured: we never hold up a scroll, and a page that stops events does not blind us.
  const on = (type, act) => window.addEventListener(type, act, { passive: true, capture: true });
  const mouse = () => window.matchMedia("(hover: hover) and (pointer: fine)").matches;

  // --- what is remembered: one entry with {last, count, state} and no id -------------------------------

  let memory = null;

  // window.clinicConsent (a value, or a function that returns one) is the page's word: true allows us to
  // remember across visits, false forbids to keep anything, and without it the setting holds.
  function storage() {
    let said = window.clinicConsent;
    try {
      if (typeof said === "function") said = said();
    } catch (_) {
      said = false;
    }
    const silent = said === undefined || said === null;
    const mode = said === true ? "local" : silent ? SETUP.storage : "none";
    try {
      if (!silent && said !== true) window.localStorage.removeItem(ENTRY);
      return mode === "none" ? null : window[mode + "Storage"];
    } catch (_) {
      // Private windows and strict settings may throw; then we remember until the page is left.
      return null;
    }
  }

  function recall() {
    let kept = memory;
    try {
      kept = JSON.parse(storage().getItem(ENTRY)) || memory;
    } catch (_) {
      // no storage, or not our words in it
    }
    const { last, count, state } = Object(kept);
    return { last: Number(last) || 0, count: Number(count) || 0, state: String(state || "") };
  }

  function remember(state) {
    const before = recall();
    if (before.state === "yes" && state !== "yes") return;
    memory = { last: Date.now(), count: before.count + (state === "seen" ? 1 : 0), state };
    try {
      storage().setItem(ENTRY, JSON.stringify(memory));
    } catch (_) {
      // no storage: the memory above has to do
    }
  }

  // --- whether it may show -----------------------------------------------------------------------------

  // Without any storage a visit is known by its first page only: no page of ours lies before it.
  const inside =
    document.referrer.startsWith(location.origin + "/") ||
    Boolean(window.navigation && window.navigation.currentEntry && window.navigation.currentEntry.index > 0);
  // Once in a visit, whatever comes of it.
  let asked = false;
  let views = 1;
  let place = "";
  let armed = 0;
  let acted = false;
  let depth = 0;
  let lastKey = -Infinity;
  let lastFocus = -Infinity;
  let lastAct = now();

  // A single-page site changes the address without loading. We look at it when something happens anyway:
  // history is read, never touched.
  const here = () => location.pathname + (/^#[/!]/.test(location.hash) ? location.hash : "");

  function arm() {
    place = here();
    armed = now() + SETUP.delay * SECOND;
    acted = false;
    depth = 0;
  }

  function allowed() {
    const { last, count, state } = recall();
    const ago = Math.abs(Date.now() - last);
    if (state === "yes" && ago < 365 * DAY) return false;
    if (count >= SETUP.most || ago < SETUP.days * DAY) return false;
    return Boolean(storage()) || !inside;
  }

  const shows = (element) => element.getClientRects().length > 0 && getComputedStyle(element).visibility !== "hidden";

  // Never over a field in use, another dialog, typing, or a keyboard or screen reader on its way.
  function busy() {
    let at = document.activeElement;
    while (at && at.shadowRoot && at.shadowRoot.activeElement) at = at.shadowRoot.activeElement;
    const field = at && (at.isContentEditable || /^(input|textarea|select|iframe|object|embed)$/i.test(at.tagName));
    const others = document.querySelectorAll('dialog[open], [aria-modal="true"], [role="dialog"], [role="alertdialog"]');
    return (
      field || document.hidden || document.fullscreenElement ||
      now() - lastKey < 3 * SECOND || now() - lastFocus < 2 * SECOND || [...others].some(shows)
    );
  }

  function welcome() {
    const robot = navigator.webdriver || ROBOTS.test(navigator.userAgent);
    const fromSearch = views < 2 && !mouse() && SEARCHES.test(document.referrer);
    return !asked && acted && now() >= armed && !robot && !fromSearch && !busy() && allowed();
  }

  // Somebody is leaving. The server may have switched the popup off, or be down: then nothing happens at all.
  // When it is only slow we do not wait for it, or the visitor would be gone.
  function leaving() {
    if (!welcome()) return;
    asked = true;
    const slow = new Promise((go) => setTimeout(go, 0.4 * SECOND, true));
    const told = newKey();
    Promise.race([told, slow]).then((enabled) => {
      if (!enabled || busy() || host.isConnected) return;
      if (mouse() ? open() : offer()) remember("seen");
      told.then((late) => late || withdraw(), () => {});
    }, () => {});
  }

  // --- signs of leaving --------------------------------------------------------------------------------

  let trail = [];
  let lifts = [];
  let idle = 0;

  function act() {
    lastAct = now();
    acted = true;
    if (here() === place) return;
    views += 1;
    arm();
  }

  // Only what happened in the last moment says where something is going.
  const recent = (list, span) => list.filter((point) => now() - point.t <= span);

  on("mousemove", (event) => {
    trail = recent(trail, 100);
    trail.push({ t: now(), x: event.clientX, y: event.clientY });
  });

  // Out through the top, upwards more than sideways, and fast: the way to the tabs and the address.
  on("mouseout", (event) => {
    const from = recent(trail, 100)[0];
    if (event.relatedTarget || event.clientY > 20 || event.buttons || !from || !mouse()) return;
    const up = from.y - event.clientY;
    const side = Math.abs(from.x - event.clientX);
    if (up > 20 && up > side && up / Math.max(now() - from.t, 1) > 0.4) leaving();
  });

  // On a phone only after real reading, and only on a sign of going: a flick back up, a return to the tab,
  // or half a minute of nothing.
  const reading = () => !mouse() && depth >= 0.5;

  on("scroll", (event) => {
    const box = event.target === document ? document.documentElement : event.target;
    act();
    if (mouse() || !box || box.clientHeight < innerHeight / 2) return;
    const y = box.scrollTop;
    depth = Math.max(depth, (y + box.clientHeight) / box.scrollHeight);
    lifts = recent(lifts, 200);
    lifts.push({ t: now(), y });
    const up = lifts[0].y - y;
    if (reading() && up > 150 && up / Math.max(now() - lifts[0].t, 1) > 1) leaving();
    if (reading() && !idle && !asked) idle = setTimeout(rest, 30 * SECOND);
  });

  function rest() {
    const left = lastAct + 30 * SECOND - now();
    idle = left > 0 && !asked ? setTimeout(rest, left) : 0;
    if (left <= 0 && reading()) leaving();
  }

  on("visibilitychange", () => document.hidden || (reading() && leaving()));
  on("pointerdown", act);
  on("keydown", () => {
    act();
    lastKey = now();
  });
  on("focusin", () => (lastFocus = now()));
  on("load", arm);
  // Back from the browser's page cache: a new look at the page, the same visit.
  on("pageshow", (event) => event.persisted && arm());

  // --- talking to the server ---------------------------------------------------------------------------

  let key = "";
  let keyAt = 0;

  // What a page may send without asking first: a plain form, no cookie, no referrer.
  function call(path, fields) {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), 8 * SECOND);
    return fetch(SETUP.base + path, {
      method: fields ? "POST" : "GET",
      body: fields,
      keepalive: Boolean(fields),
      mode: "cors",
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
      referrerPolicy: "no-referrer",
      signal: stop.signal,
    })
      .then((answer) => answer.json())
      .finally(() => clearTimeout(timer));
  }

  // Each opening fetches a key, which proves to the server that a person had time to read.
  function newKey() {
    return call("/popup.json").then((told) => {
      hold(told.key);
      return told.enabled;
    });
  }

  function hold(fresh) {
    key = fresh || "";
    keyAt = now();
  }

  const wait = (time) => new Promise((go) => setTimeout(go, time));
  const lot = () => [...crypto.getRandomValues(new Uint8Array(16))].map((n) => (n + 256).toString(16).slice(1)).join("");

  // --- what is on the screen ---------------------------------------------------------------------------

  const host = make("funnel-popup", {});
  let root = null;
  let dressed = false;
  let parts = null;
  let opened = 0;
  let opening = "";
  let answered = false;
  let sending = false;
  let failures = 0;
  // An address the server thought a slip, and its owner did not.
  let keep = "";

  // Never innerHTML: pages with trusted types forbid it, and text stays text.
  function make(name, attributes, ...inside) {
    const svg = /^(svg|path|circle)$/.test(name);
    const element = svg ? document.createElementNS(SVG, name) : document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => value !== false && element.setAttribute(key, value));
    element.append(...inside);
    return element;
  }

  // A style sheet that no policy of the page forbids; older browsers take a <style> with the page's nonce.
  function style() {
    try {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(SETUP.css);
      root.adoptedStyleSheets = [sheet];
      return true;
    } catch (_) {
      const element = make("style", { nonce: (script && script.nonce) || "" }, SETUP.css);
      root.append(element);
      return element.sheet;
    }
  }

  // Puts us on the page, outside its body, and says whether we look as we should.
  function appear() {
    document.documentElement.append(host);
    if (root) return dressed;
    root = host.attachShadow({ mode: "open" });
    // What is typed here is none of the page's business.
    const keep = (event) => event.stopPropagation();
    ["keydown", "keypress", "keyup"].forEach((type) => host.addEventListener(type, keep));
    dressed = style();
    return dressed;
  }

  function button(words, act, attributes) {
    const element = make("button", Object.assign({ type: "button" }, attributes), words);
    if (act) element.addEventListener("click", act);
    return element;
  }

  // In a window of its own: what was typed here stays.
  const away = (href, words) => make("a", { href, target: "_blank", rel: "noopener noreferrer" }, words);

  function cover() {
    const art = make("svg", { viewBox: "0 0 68 88" },
      make("path", { fill: "#fbf5ee", d: "M0 0h68v88H0z" }),
      make("circle", { fill: "#efc9ae", cx: 48, cy: 48, r: 7 }),
      make("path", { fill: "#c3dad6", d: "M0 52q14-7 28-2t40-4v42H0z" }),
      make("path", { fill: "#86b0ab", d: "M0 62q16-5 30 1t38-6v31H0z" }),
      make("path", { fill: "#0f5257", d: "M0 74q18-5 34 0t34-3v17H0z" }),
      make("path", { fill: "none", stroke: "#fdf8f1", "stroke-width": 4, "stroke-dasharray": "2.4 1.8",
        d: "M27 88c-4-12 12-17 14-28" }));
    return make("div", { class: "cover", "aria-hidden": "true" }, art, make("span", {}, SETUP.cover));
  }

  function field(id, words, attributes) {
    return [make("label", { for: id }, words), make("input", Object.assign({ id }, attributes))];
  }

  // Built once; what was typed stays when it is closed and opened again.
  function build() {
    const p = {};
    p.title = make("h2", { id: "title", tabindex: -1 }, WORDS.title);
    p.text = make("p", { id: "text" }, WORDS.body);
    p.email = field("email", WORDS.email, {
      type: "email", autocomplete: "email", inputmode: "email", required: "", "aria-describedby": "problem",
    });
    p.name = WORDS.name ? field("name", WORDS.name, { autocomplete: "given-name", maxlength: 60 }) : [];
    p.problem = make("p", { id: "problem", class: "problem" });
    p.box = WORDS.marketing && make("input", { id: "marketing", type: "checkbox" });
    p.send = button(WORDS.button, null, { type: "submit" });
    p.no = button(WORDS.decline, dismiss, { class: "second" });
    p.status = make("div", { role: "status" });
    p.form = make("form", { novalidate: "" },
      ...p.email, p.problem, ...p.name,
      p.box && make("p", { class: "box" }, p.box, make("label", { for: "marketing" }, WORDS.marketing)),
      make("p", { class: "small" }, WORDS.wording + " ",
        away(SETUP.privacy, WORDS.privacy)),
      p.status, make("div", { class: "acts" }, p.send, p.no));
    p.close = button("\u00d7", dismiss, { class: "close", "aria-label": WORDS.close });
    p.gift = make("p", { class: "gift" }, WORDS.gift);
    p.sheet = make("div", { class: "sheet" }, p.close,
      make("div", { class: "head" }, cover(), make("div", {}, p.title, p.text, p.gift)),
      p.form);
    p.dialog = make("dialog", {
      lang: WORDS.lang, dir: WORDS.dir, "aria-modal": "true", "aria-labelledby": "title", "aria-describedby": "text",
    }, p.sheet);
    listen(p);
    return p;
  }

  function listen(p) {
    let pressed = null;
    p.form.addEventListener("submit", submit);
    p.dialog.addEventListener("close", gone);
    p.dialog.addEventListener("keydown", circle);
    // A click beside the sheet closes it; a drag that merely ends there does not.
    p.dialog.addEventListener("pointerdown", (event) => (pressed = event.target));
    p.dialog.addEventListener("click", (event) => event.target === p.dialog && pressed === p.dialog && dismiss());
  }

  // Browsers let Tab leave a modal dialog for their own bars; here it goes round.
  function circle(event) {
    if (event.key !== "Tab") return;
    const stops = [...parts.dialog.querySelectorAll("button, input, a")].filter(shows);
    const at = stops.indexOf(root.activeElement);
    const last = stops.length - 1;
    if (event.shiftKey ? at !== 0 : at < last) return;
    event.preventDefault();
    stops[event.shiftKey ? last : 0].focus();
  }

  // Opens the dialog; false when this browser or page does not let us look as we should.
  function open() {
    const up = parts && parts.dialog.open;
    if (up && host.isConnected) return true;
    if (!appear()) {
      host.remove();
      return false;
    }
    clear();
    // Up, and yet gone: the page has thrown us out.
    if (!parts || answered || up) parts = build();
    answered = false;
    failures = 0;
    opening = lot();
    opened = now();
    root.append(parts.dialog);
    parts.dialog.showModal();
    parts.title.focus({ preventScroll: true });
    return true;
  }

  // The banner for a phone: it covers no more than a quarter of the screen, or it stays away.
  function offer() {
    if (!appear()) return host.remove();
    clear();
    const line = make("p", { class: "line" }, WORDS.banner_text);
    const banner = make("section", { class: "banner", "aria-labelledby": "banner", lang: WORDS.lang, dir: WORDS.dir },
      make("div", {}, make("h2", { id: "banner" }, WORDS.banner), line),
      make("div", { class: "acts" }, button(WORDS.banner_button, open), button(WORDS.decline, dismiss, { class: "second" })));
    // The style allows a quarter.
    const tall = () => banner.scrollHeight > banner.clientHeight + 1;
    banner.addEventListener("keydown", (event) => event.key === "Escape" && dismiss());
    root.append(banner);
    if (tall()) line.remove();
    return tall() ? host.remove() : true;
  }

  const clear = () => root.querySelectorAll("dialog, section").forEach((element) => element.remove());

  function dismiss() {
    if (parts && parts.dialog.open) return parts.dialog.close();
    remember("no");
    host.remove();
  }

  // Takes it back when the server says late that it is switched off, unless somebody has begun to type.
  function withdraw() {
    if (parts && parts.email[1].value) return;
    parts = null;
    host.remove();
  }

  // The browser itself gives the focus back to where it was.
  function gone() {
    if (!answered) remember("no");
    host.remove();
  }

  // --- sending -----------------------------------------------------------------------------------------

  // About the address: said beside the field, and the cursor goes there.
  function complain(words) {
    const input = parts.email[1];
    parts.problem.textContent = words;
    parts.status.textContent = "";
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }

  // About anything else: said above the buttons, and nothing moves.
  function report(words, link) {
    const way = away(SETUP.form, WORDS.form);
    parts.status.textContent = "";
    parts.status.append(make("p", { class: "problem" }, words, ...(link ? [" ", way] : [])));
  }

  function fields() {
    return new URLSearchParams({
      key,
      opening,
      keep,
      email: parts.email[1].value.trim(),
      name: parts.name[1] ? parts.name[1].value : "",
      marketing: parts.box && parts.box.checked ? "yes" : "",
      zone: Intl.DateTimeFormat().resolvedOptions().timeZone || "",
      locale: navigator.language || "",
      page: location.pathname,
      version: SETUP.version,
      seconds: Math.round((now() - opened) / SECOND),
    });
  }

  async function submit(event) {
    event.preventDefault();
    if (sending) return;
    const input = parts.email[1];
    if (!input.validity.valid) return complain(WORDS.invalid);
    busyWith(true);
    try {
      if (!key) await newKey();
      // The server takes no key younger than a second; while we wait, a late answer may bring another one.
      for (let left; (left = keyAt + 1.1 * SECOND - now()) > 0; ) await wait(left);
      take(await call("/popup/signup", fields()));
    } catch (_) {
      failures += 1;
      report(failures > 1 ? WORDS.unreachable : WORDS.offline, failures > 1);
    } finally {
      busyWith(false);
    }
  }

  function busyWith(yes) {
    sending = yes;
    parts.send.textContent = yes ? WORDS.sending : WORDS.button;
    parts.send.setAttribute("aria-disabled", String(yes));
    if (!yes) return;
    parts.problem.textContent = "";
    parts.email[1].removeAttribute("aria-invalid");
    parts.status.textContent = "";
    parts.status.append(make("span", { class: "unseen" }, WORDS.sending));
  }

  function take(told) {
    if (told.key) hold(told.key);
    if (told.ok) return thank();
    if (!told.problem) throw new Error(told);
    keep = told.keep || "";
    if (told.field) complain(told.problem);
    else report(told.problem, told.form);
  }

  function thank() {
    answered = true;
    remember("yes");
    [...parts.form.children].forEach((child) => child === parts.status || child.remove());
    parts.text.remove();
    parts.gift.remove();
    parts.title.textContent = WORDS.done_title;
    parts.sheet.classList.add("done");
    parts.status.textContent = "";
    parts.status.append(make("p", {}, WORDS.done), make("p", { class: "small" }, WORDS.done_more));
    parts.form.append(make("div", { class: "acts" }, button(WORDS.close, dismiss)));
    parts.title.focus();
  }

  // --- for those who ask themselves --------------------------------------------------------------------

  // Whoever asks gets it whatever the counts say; where it cannot show, our own form page opens instead.
  function openByHand() {
    asked = true;
    if (!open()) location.assign(SETUP.form);
    else newKey().then((enabled) => enabled || location.assign(SETUP.form), () => {});
  }

  window.addEventListener("click", (event) => {
    const asker = event.target instanceof Element && event.target.closest("[data-funnel-open]");
    if (!asker || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    openByHand();
  });

  // With signup.proof_of_work the server puts work.js and work-popup.js in place of the next line.
  // WORK

  window.FunnelPopup = Object.freeze({ open: openByHand, close: () => host.isConnected && dismiss() });
  arm();
})();
