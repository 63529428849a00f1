/* The live connection of a bot's pages: one websocket, reconnecting by itself, turned into events on <body>.

   Every message:      "kilroy:message"    detail = the message
   Once per second:    "kilroy:post", "kilroy:run", "kilroy:round", "kilroy:samples", "kilroy:bot", … what htmx fragments listen to
   After a gap:        "kilroy:reconnected"; fragments are told once, because anything may have happened meanwhile */
(() => {
  "use strict";
  const holder = document.querySelector("[data-live]");
  if (!holder) return;

  const THROTTLE_MS = 1000;
  const FIRST_WAIT_MS = 500;
  const LONGEST_WAIT_MS = 15000;
  const REFUSED = new Set([4401, 4403, 4404]); // signed out, not allowed, gone: trying again cannot help
  const FRAGMENT_EVENTS = ["post", "run", "round", "samples", "bot", "dataset", "version"];
  const WORDS = { open: "Live", waiting: "Reconnecting…", closed: "Not live" };

  const emit = (name, detail) => document.body.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));

  const lastSent = {};
  const timers = {};
  const throttled = (type) => {
    if (timers[type]) return;
    const wait = Math.max(0, (lastSent[type] ?? 0) + THROTTLE_MS - performance.now());
    timers[type] = setTimeout(() => {
      timers[type] = undefined;
      lastSent[type] = performance.now();
      emit(`kilroy:${type}`);
    }, wait);
  };

  let shown = "waiting";
  const show = (status) => {
    shown = status;
    for (const badge of document.querySelectorAll("[data-live-status]")) {
      badge.dataset.status = status;
      badge.textContent = WORDS[status];
    }
  };

  const address = () => {
    const url = new URL(holder.dataset.live, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url.href;
  };

  let failures = 0;
  let wasOpen = false;
  let leaving = false;

  const connect = () => {
    const socket = new WebSocket(address());
    socket.addEventListener("open", () => {
      failures = 0;
      show("open");
      if (wasOpen) {
        emit("kilroy:reconnected");
        for (const type of FRAGMENT_EVENTS) throttled(type);
      }
      wasOpen = true;
    });
    socket.addEventListener("message", (event) => {
      let message;
      try {
        message = JSON.parse(event.data);
      } catch {
        return; // not ours; the next message may be
      }
      emit("kilroy:message", message);
      if (FRAGMENT_EVENTS.includes(message.type)) throttled(message.type);
    });
    socket.addEventListener("close", (event) => {
      if (leaving) return;
      if (REFUSED.has(event.code)) {
        show("closed");
        return;
      }
      show("waiting");
      const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures);
      failures += 1;
      setTimeout(connect, wait * (0.75 + Math.random() / 2)); // spread, so that a restarted server is not met by everybody at once
    });
  };

  addEventListener("pagehide", () => {
    leaving = true;
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload(); // the back-forward cache closed the socket
  });

  // Samples arrive whole in the message: show them at once, as text and never as markup.
  document.body.addEventListener("kilroy:message", ({ detail: message }) => {
    if (message.type !== "samples") return;
    for (const list of document.querySelectorAll("[data-samples]")) {
      if (list.dataset.samples !== String(message.run)) {
        list.dataset.samples = String(message.run);
        emit("kilroy:samples-moved"); // another run writes now: its panel has another heading
      }
      list.replaceChildren(
        ...message.texts.map((text) => {
          const item = document.createElement("li");
          item.textContent = text;
          return item;
        }),
      );
      const step = list.parentElement.querySelector("[data-samples-step]");
      if (step) step.textContent = `${message.kind === "online" ? "Round" : "Step"} ${message.step}`;
    }
  });

  document.body.addEventListener("htmx:afterSwap", () => show(shown)); // a refreshed head has a new, unwritten badge
  show("waiting");
  connect();
})();
