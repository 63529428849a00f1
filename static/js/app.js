/* What every page does: CSRF for htmx, failures said aloud, menus that close, messages that can be dismissed, forms that
   are sent once, and fragments that keep what a person did in them. */
(() => {
  "use strict";
  const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";

  const csrf = meta("csrf-token");
  if (csrf) document.body.setAttribute("hx-headers", JSON.stringify({ "X-CSRFToken": csrf }));

  const toast = (text, level = "error") => {
    const region = document.getElementById("toasts");
    if (!region) return null;
    const shown = [...region.querySelectorAll("p")].find((p) => p.textContent === text);
    if (shown) return shown.closest(".message");
    const box = document.createElement("div");
    box.className = `message message--${level}`;
    const line = document.createElement("p");
    line.textContent = text;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "message__close";
    close.dataset.dismiss = "";
    close.setAttribute("aria-label", "Dismiss");
    close.textContent = "×";
    box.append(line, close);
    region.append(box);
    return box;
  };
  // A live region that is written again is read out again, also when it says the same.
  const say = (node, words) => {
    if (node.textContent !== words) node.textContent = words;
  };
  // Storage is forbidden in some private windows: nothing is kept there, and nothing else breaks.
  const stored = (act) => {
    try {
      return act();
    } catch {
      return null;
    }
  };
  window.Kilroy = Object.assign(window.Kilroy ?? {}, { toast, say, stored });

  // What refreshes itself beside the page, like the bell, says nothing of its own troubles.
  const quiet = (event) => Boolean(event.detail.requestConfig?.elt?.closest("[data-quiet]"));

  const refused = {
    403: "Your role does not allow this, or this page is too old. Reload the page and try again.",
    404: "This no longer exists. Reload the page.",
    409: "Somebody else changed this at the same time. Reload the page to see what it is now.",
    429: "Too many requests. Wait a moment and try again.",
  };
  document.addEventListener("htmx:responseError", (event) => {
    const status = event.detail.xhr.status;
    if (quiet(event)) return;
    if (event.detail.requestConfig?.verb === "get") {
      toast(`A part of this page could not be refreshed (${status}). Reload the page if it stays that way.`);
      return;
    }
    toast(refused[status] ?? `The server answered with an error (${status}). Nothing was changed; try again in a moment.`);
  });
  document.addEventListener("htmx:sendError", (event) => {
    // A fragment that could not refresh comes back by itself with the live connection; only what a person did needs words.
    if (event.detail.requestConfig?.verb === "post") toast("The server could not be reached. Nothing was changed; try again.");
  });

  // A session that ran out answers a fragment with the sign-in page: go there instead of drawing it into the page.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const signIn = meta("sign-in-path");
    const answered = event.detail.xhr.responseURL;
    if (!signIn || !answered || location.pathname === signIn) return;
    if (new URL(answered, location.href).pathname !== signIn) return;
    event.detail.shouldSwap = false;
    if (quiet(event)) return;
    location.assign(`${signIn}?next=${encodeURIComponent(location.pathname + location.search)}`);
  });

  // Tabs that do not fit are a strip: the current one comes into sight.
  for (const current of document.querySelectorAll(".tabs [aria-current]")) {
    const strip = current.closest(".tabs");
    const [box, place] = [strip.getBoundingClientRect(), current.getBoundingClientRect()];
    strip.scrollLeft += place.left - box.left - (box.width - place.width) / 2;
  }

  document.addEventListener("click", (event) => {
    const dismiss = event.target.closest("[data-dismiss]");
    if (dismiss) dismiss.closest(".message")?.remove();
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // Forms that stop or delete something ask first: <form data-confirm="Question?">.
  const confirmed = (form) => !form.dataset.confirm || window.confirm(form.dataset.confirm);
  document.addEventListener("submit", (event) => {
    if (event.target.matches("form[data-confirm]:not([hx-post])") && !confirmed(event.target)) event.preventDefault();
  });

  // The same form, sent again before its answer is there (a double click, a key held down), is sent once. What htmx sends
  // is prevented here, and has an order of its own.
  const AGAIN_MS = 2000;
  let sent = new WeakMap(); // form → {what, at}
  const whatIsSent = ({ target, submitter }) =>
    [submitter?.getAttribute("formaction") ?? target.getAttribute("action"), submitter?.name, submitter?.value].map((each) => each ?? "").join(" ");
  addEventListener("submit", (event) => {
    const before = sent.get(event.target);
    if (!before || before.what !== whatIsSent(event) || performance.now() - before.at > AGAIN_MS) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, { capture: true });
  addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.getAttribute("method") !== "post") return;
    sent.set(event.target, { what: whatIsSent(event), at: performance.now() });
  });
  addEventListener("pageshow", () => (sent = new WeakMap()));

  // Swapped-in intervals (the arms of the lift table) share one scale, so that they can be compared by eye.
  const drawIntervals = (root) => {
    for (const table of root.querySelectorAll("[data-intervals]")) {
      const rows = [...table.querySelectorAll("svg.interval")];
      const numbers = rows.flatMap((svg) => [svg.dataset.low, svg.dataset.high, svg.dataset.mean]);
      const values = numbers.filter((n) => n !== undefined && n !== "").map(Number).filter(Number.isFinite);
      if (!values.length) continue;
      const low = Math.min(0, ...values);
      const high = Math.max(0, ...values);
      const span = high - low || 1;
      const x = (value) => `${(3 + (94 * (value - low)) / span).toFixed(2)}%`;
      for (const svg of rows) {
        const part = (name, attributes) => {
          const node = document.createElementNS("http://www.w3.org/2000/svg", name);
          for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
          return node;
        };
        const shapes = [part("line", { class: "axis", x1: x(0), x2: x(0), y1: 0, y2: 20 })];
        const { low: from, high: to, mean } = svg.dataset;
        if (from && to) shapes.push(part("line", { class: "bar", x1: x(+from), x2: x(+to), y1: 10, y2: 10 }));
        if (mean) shapes.push(part("circle", { class: "dot", cx: x(+mean), cy: 10, r: 4.5 }));
        svg.replaceChildren(...shapes);
      }
    }
  };

  // Times come in UTC and are shown in the reader's zone; the original stays in the tooltip. [data-zone] is left alone.
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const localize = (root) => {
    if (!here || here === "UTC") return;
    for (const time of root.querySelectorAll("time[datetime]:not([data-zone])")) {
      const moment = new Date(time.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      const written = time.textContent;
      const format = { day: "numeric", month: /[A-Z][a-z]{3,} \d{4}/.test(written) ? "long" : "short" };
      if (/\d{4}/.test(written)) format.year = "numeric";
      if (/^[A-Z]/.test(written)) format.weekday = "short";
      if (written.includes(":")) Object.assign(format, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
      time.textContent = new Intl.DateTimeFormat("en-GB", format).format(moment);
      time.title = `${written} UTC`;
      time.dataset.zone = here;
    }
  };
  const zoneNote = document.querySelector("[data-zone-note]");
  if (zoneNote && here) zoneNote.textContent = `Times are in your time zone, ${here}.`;
  localize(document);
  document.addEventListener("htmx:afterSettle", () => localize(document));

  for (const list of document.querySelectorAll("datalist[data-time-zones]")) {
    for (const zone of Intl.supportedValuesOf?.("timeZone") ?? []) {
      const option = document.createElement("option");
      option.value = zone;
      list.append(option);
    }
  }

  // A refreshed fragment keeps the details that a person had opened, what they ticked and chose, how far they scrolled
  // and, as far as its parts have ids (htmx), the focus: what is gone leaves it to the fragment.
  const named = (node) => [...document.getElementsByName(node.name)].filter((each) => each.type === node.type);
  const sameBox = (box) => named(box).find((each) => each.value === box.value);
  const sameSelect = (select) => {
    const place = named(select).indexOf(select);
    return () => named(select)[place];
  };
  const inUse = (fragment) => {
    const acts = [];
    for (const { id } of fragment.querySelectorAll("details[id][open]")) acts.push(() => document.getElementById(id)?.setAttribute("open", ""));
    for (const box of fragment.querySelectorAll("input[type=checkbox][name]")) {
      if (box.checked === box.defaultChecked) continue;
      acts.push(() => {
        const again = sameBox(box);
        if (again) again.checked = box.checked;
      });
    }
    for (const select of fragment.querySelectorAll("select[name]:not([multiple])")) {
      const { value, options } = select;
      if (value === ([...options].find((option) => option.defaultSelected) ?? options[0])?.value) continue;
      const again = sameSelect(select);
      acts.push(() => {
        if ([...(again()?.options ?? [])].some((option) => option.value === value)) again().value = value;
      });
    }
    for (const { id, scrollLeft, scrollTop } of fragment.querySelectorAll("[id][tabindex='0']")) {
      if (scrollLeft || scrollTop) acts.push(() => document.getElementById(id)?.scrollTo({ left: scrollLeft, top: scrollTop, behavior: "instant" }));
    }
    return acts;
  };
  let kept = [];
  let focused = ""; // the fragment in which the focus was
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!event.detail.shouldSwap) return;
    const { target } = event.detail;
    kept = inUse(target);
    focused = target.contains(document.activeElement) && document.activeElement !== document.body ? target.id : "";
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const act of kept) act();
    kept = [];
  });
  const giveFocusBack = () => {
    const fragment = document.activeElement === document.body && focused && document.getElementById(focused);
    focused = "";
    if (!fragment) return;
    if (!fragment.hasAttribute("tabindex")) fragment.tabIndex = -1;
    fragment.focus({ preventScroll: true });
  };
  document.addEventListener("htmx:afterSettle", () => queueMicrotask(giveFocusBack)); // unless a script knows a better place

  drawIntervals(document);
  document.addEventListener("htmx:afterSettle", (event) => drawIntervals(event.detail.target.parentElement ?? document));
})();
