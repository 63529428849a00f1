/* The calendar: posts are dragged by mouse and touch, moved by arrow keys, or sent to a day and time that a dialog asks
   for. All three fill the same form; the server decides, and its answer is drawn. */
(() => {
  "use strict";
  const FAR = 6; // pixels after which a press is a drag
  const MINUTE = 60_000;
  const $ = (id) => document.getElementById(id);
  let held = null; // {entry, by: "pointer" | "keys", target, ghost}
  let press = null; // {entry, x, y}: a pointer that may become a drag
  let stale = false; // something happened that the calendar was not redrawn for

  const entryOf = (node) => node.closest?.(".cal-entry[data-movable]");
  const say = (words) => {
    const region = $("cal-said");
    if (region) region.textContent = words;
  };
  const pad = (number) => String(number).padStart(2, "0");
  // Local times of the calendar's zone are counted as if they were UTC: only the server knows the zone's clock changes.
  const counted = (local) => new Date(`${local.length === 10 ? `${local}T00:00` : local}Z`);
  const written = (moment) => moment.toISOString().slice(0, 19);
  const now = () => {
    const format = { dateStyle: "short", timeStyle: "medium", timeZone: $("move-form").elements.zone.value };
    return new Intl.DateTimeFormat("sv", format).format(new Date()).replace(" ", "T"); // Swedes write 2030-01-31 09:00:00
  };
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
    const nextHour = new Date(Math.ceil(counted(now()) / (60 * MINUTE)) * 60 * MINUTE);
    fill(entry, entry.dataset.local || written(nextHour).slice(0, 16));
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
  // What is held is not redrawn; once nothing is, the calendar is asked for what happened meanwhile.
  const isInUse = () => Boolean(press || held || $("move-dialog")?.open);
  const catchUp = () => {
    if (!stale || isInUse()) return;
    stale = false;
    htmx.trigger("#calendar-grid", "kilroy:post");
  };
  const leave = () => {
    press = null;
    letGo();
    catchUp();
  };
  const pickUp = (entry, by) => {
    held = { entry, by, target: null, ghost: null };
    entry.setAttribute("data-held", "");
    document.documentElement.classList.add("moving");
  };

  /* by pointer: a mouse takes hold of the post anywhere, a finger of its handle */
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
    if (!event.buttons) {
      leave(); // it was let go of where this page could not hear it
      return;
    }
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
    const place = held?.by === "pointer" ? held.target : null;
    if (held?.by === "pointer") {
      letGo();
      dropped = true; // the click that follows a drag opens nothing
      setTimeout(() => (dropped = false), 0);
    }
    if (place) send(entry, momentAt(place, entry.dataset.local));
    else catchUp();
  });
  document.addEventListener("pointercancel", leave);

  /* by keys, on the handle */
  const STEPS = { ArrowLeft: -1, ArrowRight: 1 };
  const step = (entry, key) => {
    const week = Boolean(document.querySelector(".cal-week"));
    const size = week ? 13 : 10;
    const cells = [...document.querySelectorAll("#calendar-grid [data-drop]")].filter((place) => place.dataset.drop.length === size);
    const row = document.querySelector(".cal-days--month") ? 7 : 1;
    const by = STEPS[key] ? STEPS[key] * (week ? 24 : 1) : (key === "ArrowUp" ? -1 : 1) * row;
    const from = held?.target ?? cells.find((place) => place.dataset.drop === (entry.dataset.local || now()).slice(0, size));
    const next = cells[Math.min(Math.max(cells.indexOf(from) + by, 0), cells.length - 1)];
    if (!next) return;
    if (!held) pickUp(entry, "keys");
    mark(next);
    next.scrollIntoView({ block: "nearest" });
    say(`${spoken(momentAt(next, entry.dataset.local))}. Enter moves it there, Escape leaves it.`);
  };
  document.addEventListener("keydown", (event) => {
    if (held && event.key === "Escape") {
      leave();
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
      else catchUp();
    }
  });
  document.addEventListener("focusout", (event) => {
    if (held?.by === "keys" && event.target.closest?.(".cal-grip")) leave();
  });

  /* the dialog */
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-move-cancel]")) $("move-dialog").close();
    const grip = event.target.closest(".cal-grip");
    if (!grip || event.defaultPrevented || event.ctrlKey || event.metaKey || !$("move-dialog")) return;
    event.preventDefault();
    ask(entryOf(grip));
  });
  document.addEventListener("close", (event) => event.target.id === "move-dialog" && catchUp(), { capture: true });

  /* after the server's answer: the eye and the keyboard go to the post */
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.id !== "calendar-grid" || !isInUse()) return;
    stale = true;
    event.preventDefault();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.target.id === "calendar" && event.detail.shouldSwap) stale = false; // all of it is drawn anew
    if (event.target.id !== "calendar-grid" || !isInUse()) return;
    stale = true;
    event.detail.shouldSwap = false; // it was asked for before
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.target.id !== "move-form" || event.detail.successful) return;
    say("Not moved.");
    $("move-dialog").close(); // what went wrong is said behind it
    catchUp();
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
    const moved = document.querySelector("[data-moved]")?.dataset.moved ?? event.detail.requestConfig?.parameters.post;
    $(`grip-${moved}`)?.focus();
  });
  ownZone();
})();
