/* The live connection of a page (docs/live.md): one websocket, reconnecting by itself, turned into events on <body>.
   data-live is its address, data-live-topic what the page is about.

   Every event:        "kilroy:message"    detail = its data
   Once per second:    "kilroy:post", "kilroy:run", "kilroy:round", "kilroy:samples", "kilroy:bot", … what htmx fragments listen to
   Every five seconds: "kilroy:any", for fragments that cost much: any of these happened
   After a gap:        "kilroy:reconnected"; fragments are told once, because anything may have happened meanwhile

   Nothing is said too often and the last thing is always said: what comes too soon, or while a part of the page is on its
   way, is said afterwards. (htmx's own "throttle:" drops it, and a fragment that is replaced by an answer forgets what it
   was told meanwhile.) */
(() => {
  "use strict";
  const holder = document.querySelector("[data-live]");
  if (!holder) return;

  const TOPIC = holder.dataset.liveTopic;
  const THROTTLE_MS = 1000;
  const ANY_THROTTLE_MS = 5000;
  const FIRST_WAIT_MS = 500;
  const LONGEST_WAIT_MS = 15000;
  const PING_MS = 25000;
  const UNANSWERED = 2; // pings; then the connection is dead, whatever the browser thinks
  const ANSWER_MS = 5000; // for a ping that is sent because the connection may just have died
  const AWAY_MS = 3000; // shorter breaks are nobody's news
  const LONGEST_SINCE_S = 300;
  const REFUSED = new Set([4401, 4403, 4404]); // signed out, not allowed, gone: trying again cannot help
  const GONE = new Set(["not_found", "forbidden"]);
  const FRAGMENT_EVENTS = ["post", "run", "round", "samples", "run_event", "bot", "dataset", "version", "reply", "canary", "generation"];
  const LONGEST_UNDER_WAY_MS = 10000; // one answer that hangs keeps the others from being told no longer
  const SETTLE_MS = (window.htmx?.config.defaultSettleDelay ?? 20) + 30; // until then, what was swapped in does not listen yet
  const AT_WORK = "textarea:focus, input:focus, details[open]";
  const WORDS = { connecting: "Connecting…", open: "Live", waiting: "Reconnecting…", closed: "Not live" };

  const emit = (name, detail) => document.body.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));

  const underWay = new Set(); // answers that are on their way to parts of this page
  const owed = new Map(); // what to do once they are there
  const afterwards = (name, act) => {
    if (underWay.size) owed.set(name, act);
    else act();
  };
  const lastSaid = {};
  const timers = {};
  const say = (type) => {
    clearTimeout(timers[type]);
    timers[type] = undefined;
    lastSaid[type] = performance.now();
    emit(`kilroy:${type}`);
  };
  const throttled = (type, least = THROTTLE_MS) => {
    const wait = Math.max(0, (lastSaid[type] ?? -Infinity) + least - performance.now());
    timers[type] ??= setTimeout(() => {
      timers[type] = undefined;
      afterwards(type, () => say(type));
    }, wait);
  };
  const happened = (types) => {
    for (const type of types) throttled(type);
    throttled("any", ANY_THROTTLE_MS);
  };
  const arrived = (xhr) => {
    if (!underWay.delete(xhr) || underWay.size) return;
    const acts = [...owed.values()];
    owed.clear();
    for (const act of acts) act();
  };
  document.body.addEventListener("htmx:beforeSend", ({ detail: { xhr } }) => {
    underWay.add(xhr);
    // Not htmx:afterRequest: that does not come here from a part that something else has replaced meanwhile.
    xhr.addEventListener("loadend", () => setTimeout(arrived, SETTLE_MS, xhr));
    setTimeout(arrived, LONGEST_UNDER_WAY_MS, xhr);
  });

  let shown = "connecting";
  let awayTimer;
  const sayAway = (text) => {
    const away = document.getElementById("away");
    if (away && away.textContent !== text) away.textContent = text;
  };
  const show = (status) => {
    shown = status;
    if (status === "waiting" || status === "connecting") {
      awayTimer ??= setTimeout(() => sayAway(WORDS.waiting), AWAY_MS);
    } else {
      clearTimeout(awayTimer);
      awayTimer = undefined;
      sayAway(status === "closed" ? "This page is no longer live. Reload it to see what is new." : "");
    }
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

  const catchUp = () => {
    emit("kilroy:reconnected");
    happened(FRAGMENT_EVENTS);
  };

  let sequence = null; // how far this page has heard
  let failures = 0;
  let over = false; // the page is left, or may not watch
  let retry; // the next try's timer, while there is no connection
  let leave = () => {}; // ends the connection that there is
  let doubt = () => {}; // asks it whether it is still there

  // The first time: from when the page was asked for, so that nothing falls between its rows and this connection. A page
  // that came back from the browser's cache may be any age, and one that waited long is too old: a catch-up answers "".
  const subscription = () => {
    const since = Math.ceil(performance.now() / 1000) + 1;
    const cached = performance.getEntriesByType("navigation")[0]?.type === "back_forward";
    if (sequence !== null) return { type: "subscribe", topic: TOPIC, after: sequence };
    if (since <= LONGEST_SINCE_S && !cached) return { type: "subscribe", topic: TOPIC, since };
    return { type: "subscribe", topic: TOPIC, after: "" };
  };

  const stop = (socket) => {
    over = true;
    show("closed");
    socket.close();
  };

  const hear = (socket, message) => {
    if (message.type === "hello") {
      if (message.authenticated) socket.send(JSON.stringify(subscription()));
      else stop(socket);
    } else if (message.type === "subscribed") {
      sequence = message.sequence;
      failures = 0;
      show("open");
    } else if (message.type === "events") {
      for (const event of message.events) {
        sequence = event.sequence;
        emit("kilroy:message", event.data);
        if (FRAGMENT_EVENTS.includes(event.data.type)) happened([event.data.type]);
      }
    } else if (message.type === "pong") {
      sequence = message.sequences[TOPIC] ?? sequence;
    } else if (message.type === "catch_up") {
      sequence = message.sequence;
      catchUp();
    } else if (message.type === "closed" || (message.type === "error" && GONE.has(message.code))) {
      stop(socket);
    }
  };

  const again = (code) => {
    if (over) return;
    if (REFUSED.has(code)) {
      show("closed");
      return;
    }
    show("waiting");
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures);
    failures += 1;
    retry = setTimeout(connect, wait * (0.75 + Math.random() / 2)); // spread, so that a restarted server is not met by everybody at once
  };

  const connect = () => {
    retry = undefined;
    const socket = new WebSocket(address());
    let unanswered = 0;
    let ended = false;
    // A dead connection never closes: what follows its end does not wait for that.
    const end = (code) => {
      if (ended) return;
      ended = true;
      clearInterval(beat);
      socket.close();
      again(code);
    };
    const ping = () => {
      unanswered += 1;
      if (socket.readyState === WebSocket.OPEN) socket.send('{"type":"ping"}');
    };
    const beat = setInterval(() => {
      if (unanswered >= UNANSWERED) end();
      else ping();
    }, PING_MS);
    leave = end;
    doubt = () => {
      if (ended) return;
      ping();
      setTimeout(() => {
        if (unanswered) end();
      }, ANSWER_MS);
    };
    socket.addEventListener("message", (event) => {
      if (ended) return;
      unanswered = 0;
      let message;
      try {
        message = JSON.parse(event.data);
      } catch {
        return; // not ours; the next message may be
      }
      hear(socket, message);
    });
    socket.addEventListener("close", (event) => end(event.code));
  };

  const back = () => {
    if (over) return;
    if (retry === undefined) {
      doubt();
      return;
    }
    clearTimeout(retry);
    connect();
  };
  addEventListener("online", back);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") back(); // a laptop that slept, a tab that was put aside
  });
  addEventListener("pagehide", () => {
    if (over) return;
    over = true;
    leave();
    clearTimeout(retry);
    // The browser may keep the page and show it again: it goes on from where it was.
    addEventListener("pageshow", () => {
      over = false;
      connect();
    }, { once: true });
  });

  // A post's card in a list fetches itself anew when its post moved, but not from under the hands of somebody.
  const passedOver = new Set(); // cards that wait for that
  const inUse = (card) => card.querySelector(AT_WORK) !== null;
  const refresh = (id) =>
    afterwards(id, () => {
      const card = document.getElementById(id);
      if (card && inUse(card)) passedOver.add(id);
      else if (card) htmx.trigger(card, "kilroy:moved");
    });
  const refreshAll = () => {
    for (const card of document.querySelectorAll(".post-card[hx-get]")) refresh(card.id);
  };
  document.body.addEventListener("kilroy:message", ({ detail: message }) => {
    if (message.type !== "post") return;
    if (message.post) refresh(`post-${message.post}`);
    else throttled("posts", ANY_THROTTLE_MS); // several
  });
  document.body.addEventListener("kilroy:posts", refreshAll);
  document.body.addEventListener("kilroy:reconnected", refreshAll);
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.requestConfig.triggeringEvent?.type !== "kilroy:moved" || !inUse(event.detail.target)) return;
    event.detail.shouldSwap = false;
    passedOver.add(event.detail.target.id);
  });
  for (const leaving of ["focusout", "toggle"]) {
    document.body.addEventListener(leaving, () => setTimeout(() => {
      const ids = [...passedOver];
      passedOver.clear();
      ids.forEach(refresh);
    }), true);
  }

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
  show("connecting");
  connect();
})();
