/* The calendar: posts are dragged by mouse and touch, moved by arrow keys, or sent to a day and time that a dialog asks
   for. All three fill the same form; the server decides, and its answer is drawn. */
(() => {
  "use strict";
  const FAR = 6; // pixels after which a press is a drag
  const MINUTE = 60_000;
  const $ = (id) => document.getElementById(id);
  let held = null; // {entry, by: "pointer" | "keys", target, ghost}

  const entryOf = (node) => node.closest?.(".cal-entry[data-movable]");
  const say = (words) => {
    const region = $("cal-said");
    if (region) region.textContent = words;
  };
  const pad = (number) => String(number).padStart(2, "0");
  // Local times of the calendar's zone are counted as if they were UTC: only the server knows the zone's clock changes.
  const counted = (local) => new Date(`${local.length === 10 ? `${local}T00:00` : local}Z`);
  const written = (moment) => moment.toISOString().slice(0, 19);
  const spoken = (local) =>
    new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long", hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: "UTC" }).format(counted(local));

  // Where a post goes that is dropped there: a slot's moment; an hour, at the post's own minute; a day, at its own time.
  const momentAt = (place, local) => {
    const where = place.dataset.drop;
    if (where.length === 10) return `${where}T${local ? local.slice(11) : "12:00:00"}`;
    if (where.length === 13) return `${where}:${local ? local.slice(14) : "00:00"}`;
    return where;
  };

  const fill = (entry, at) => {
    const { post, seen } = entry.dataset;
    const { elements } = $("move-form");
    elements.post.value = post;
    elements.seen.value = seen;
    elements.at.type = at.length > 19 ? "text" : "datetime-local"; // a slot names its offset
    elements.at.value = at;
  };
  const send = (entry, at) => {
    fill(entry, at);
    say("Moving…");
    $("move-form").requestSubmit();
  };

  const ask = (entry) => {
    const now = new Date(Math.ceil(Date.now() / (60 * MINUTE)) * 60 * MINUTE);
    fill(entry, entry.dataset.local || written(now).slice(0, 16));
    $("move-form").querySelector("[data-move-text]").textContent = entry.querySelector(".cal-entry__text").textContent;
    $("move-dialog").showModal();
    $("move-at").focus();
  };

  const mark = (place) => {
    if (held.target === place) return;
    held.target?.removeAttribute("data-target");
    place?.setAttribute("data-target", "");
    held.target = place;
  };
  const letGo = () => {
    if (!held) return null;
    const { entry, target } = held;
    mark(null);
    held.ghost?.remove();
    entry.removeAttribute("data-held");
    document.documentElement.classList.remove("moving");
    held = null;
    return target;
  };
  const pickUp = (entry, by) => {
    held = { entry, by, target: null, ghost: null };
    entry.setAttribute("data-held", "");
    document.documentElement.classList.add("moving");
  };

  /* by pointer: a mouse takes hold of the post anywhere, a finger of its handle */
  let press = null;
  let dropped = false;
  document.addEventListener("click", (event) => dropped && event.preventDefault(), { capture: true });
  document.addEventListener("pointerdown", (event) => {
    const entry = entryOf(event.target);
    if (!entry || event.button !== 0 || held) return;
    if (event.pointerType !== "mouse" && !event.target.closest(".cal-grip")) return;
    press = { entry, x: event.clientX, y: event.clientY };
  });
  document.addEventListener("pointermove", (event) => {
    if (!press) return;
    if (!held) {
      if (Math.hypot(event.clientX - press.x, event.clientY - press.y) < FAR) return;
      pickUp(press.entry, "pointer");
      held.ghost = press.entry.cloneNode(true);
      held.ghost.classList.add("cal-ghost");
      held.ghost.removeAttribute("id");
      held.ghost.setAttribute("aria-hidden", "true");
      document.body.append(held.ghost);
    }
    held.ghost.style.transform = `translate(${event.clientX + 8}px, ${event.clientY + 8}px)`;
    mark(document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-drop]") ?? null);
    const edge = event.clientY < 60 ? -12 : event.clientY > innerHeight - 60 ? 12 : 0;
    if (edge) scrollBy(0, edge);
  });
  document.addEventListener("pointerup", () => {
    const { entry } = press ?? {};
    press = null;
    if (held?.by !== "pointer") return;
    const place = letGo();
    dropped = true; // the click that follows a drag opens nothing
    setTimeout(() => (dropped = false), 0);
    if (place) send(entry, momentAt(place, entry.dataset.local));
  });
  document.addEventListener("pointercancel", () => {
    press = null;
    letGo();
  });

  /* by keys, on the handle */
  const STEPS = { ArrowLeft: -1, ArrowRight: 1 };
  const step = (entry, key) => {
    const week = Boolean(document.querySelector(".cal-week"));
    const size = week ? 13 : 10;
    const cells = [...document.querySelectorAll("#calendar-grid [data-drop]")].filter((place) => place.dataset.drop.length === size);
    const by = STEPS[key] ? STEPS[key] * (week ? 24 : 1) : (key === "ArrowUp" ? -1 : 1) * (week ? 1 : 7);
    const from = held?.target ?? cells.find((place) => place.dataset.drop === (entry.dataset.local || written(new Date())).slice(0, size));
    const next = cells[Math.min(Math.max(cells.indexOf(from) + by, 0), cells.length - 1)];
    if (!next) return;
    if (!held) pickUp(entry, "keys");
    mark(next);
    next.scrollIntoView({ block: "nearest" });
    say(`${spoken(momentAt(next, entry.dataset.local))}. Enter moves it there, Escape leaves it.`);
  };
  document.addEventListener("keydown", (event) => {
    if (held && event.key === "Escape") {
      letGo();
      press = null;
      say("Left where it is.");
      return;
    }
    const grip = event.target.closest?.(".cal-grip");
    const entry = grip && entryOf(grip);
    if (!entry || !$("move-dialog")) return;
    if (event.key.startsWith("Arrow")) {
      event.preventDefault();
      step(entry, event.key);
    } else if (event.key === "Enter" && held?.by === "keys") {
      event.preventDefault();
      const place = letGo();
      if (place) send(entry, momentAt(place, entry.dataset.local));
    }
  });
  document.addEventListener("focusout", (event) => {
    if (held?.by === "keys" && event.target.closest?.(".cal-grip")) letGo();
  });

  /* the dialog */
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-move-cancel]")) $("move-dialog").close();
    const grip = event.target.closest(".cal-grip");
    if (!grip || event.defaultPrevented || event.ctrlKey || event.metaKey || !$("move-dialog")) return;
    event.preventDefault();
    ask(entryOf(grip));
  });

  /* after the server's answer: the eye and the keyboard go to the post; what is held is not redrawn */
  const isInUse = (event) => event.target.id === "calendar-grid" && (press || held || $("move-dialog")?.open);
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (isInUse(event)) event.preventDefault();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (isInUse(event)) event.detail.shouldSwap = false; // it was asked for before
  });
  const ownZone = () => {
    const link = document.querySelector("[data-own-zone]");
    const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!link || !here || document.querySelector(".cal-zone").textContent.includes(here)) return;
    link.href += `&zone=${encodeURIComponent(here)}`;
    link.textContent = `Show them in your time zone, ${here}`;
    link.hidden = false;
  };
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id !== "calendar" && event.detail.elt?.id !== "calendar") return;
    ownZone();
    const moved = document.querySelector("[data-moved]");
    const grip = moved && $(`grip-${moved.dataset.moved}`);
    if (grip) grip.focus();
  });
  ownZone();
})();
