/* The timetable as a grid of days and hours that is drawn from, and written into, the text field of its times. Drag with
   the mouse or a finger (begin sideways: upwards and downwards scroll), or use the keyboard: arrows move, Shift and
   arrows mark a range, Space sets or clears it. */
(() => {
  "use strict";
  const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
  const NAMES = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
  const ENTRY = /^(mon|tue|wed|thu|fri|sat|sun) ([01]\d|2[0-3]):([0-5]\d)$/;
  const holder = document.querySelector("[data-timetable]");
  const text = holder && document.getElementById(holder.dataset.timetable);
  if (!text) return;
  const quiet = ["quietFrom", "quietUntil"].map((name) => document.getElementById(holder.dataset[name]));
  const make = (tag, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  const two = (number) => String(number).padStart(2, "0");

  const cells = DAYS.map(() => []);
  const body = make("tbody");
  for (let hour = 0; hour < 24; hour += 1) {
    const row = make("tr", {}, make("th", { scope: "row", textContent: `${two(hour)}:00` }));
    DAYS.forEach((day, number) => {
      const cell = make("td", { tabIndex: -1 });
      cell.setAttribute("role", "gridcell");
      Object.assign(cell.dataset, { day: number, hour });
      cells[number][hour] = cell;
      row.append(cell);
    });
    body.append(row);
  }
  const heads = DAYS.map((day, number) => {
    const head = make("th", { scope: "col" }, make("span", { textContent: NAMES[number].slice(0, 3) }));
    head.setAttribute("aria-label", NAMES[number]);
    return head;
  });
  const table = make("table", { className: "timetable" }, make("thead", {}, make("tr", {}, make("td"), ...heads)), body);
  const said = make("p", { className: "small muted timetable__said" });
  const hint = make("p", {
    className: "field__help",
    id: "timetable-hint",
    textContent: "Click or drag over the hours. Keys: arrows move, Shift and arrows mark a range, Space sets or clears it. Hatched hours are quiet.",
  });
  table.setAttribute("role", "grid");
  table.setAttribute("aria-label", "Times of the week");
  table.setAttribute("aria-multiselectable", "true");
  table.setAttribute("aria-describedby", hint.id);
  if (text.disabled) table.setAttribute("aria-readonly", "true");
  said.setAttribute("role", "status");
  holder.className = "field";
  holder.append(table, hint, said);
  text.closest(".field").classList.add("timetable__text");

  // What the field says: minutes by day and hour, and lines that are no times, which stay as they are.
  const key = (day, hour) => `${DAYS[day]} ${two(hour)}`;
  const read = () => {
    const minutes = new Map();
    const others = [];
    for (const line of text.value.split("\n").map((each) => each.trim().toLowerCase()).filter(Boolean)) {
      const found = ENTRY.exec(line);
      if (!found) others.push(line);
      else minutes.set(line.slice(0, 6), new Set([...(minutes.get(line.slice(0, 6)) ?? []), found[3]]));
    }
    return { minutes, others };
  };
  let now = read();

  const inMinutes = (field) => (/^\d\d:\d\d/.test(field?.value ?? "") ? Number(field.value.slice(0, 2)) * 60 + Number(field.value.slice(3, 5)) : null);
  const isQuiet = (minute) => {
    const [from, until] = quiet.map(inMinutes);
    if (from === null || until === null || from === until) return false;
    return from < until ? minute >= from && minute < until : minute >= from || minute < until;
  };

  const draw = () => {
    DAYS.forEach((_, day) => {
      for (let hour = 0; hour < 24; hour += 1) {
        const cell = cells[day][hour];
        const set = [...(now.minutes.get(key(day, hour)) ?? [])].sort();
        const silent = [...Array(60).keys()].some((minute) => isQuiet(hour * 60 + minute));
        const lost = set.filter((minute) => isQuiet(hour * 60 + Number(minute)));
        cell.setAttribute("aria-selected", String(set.length > 0));
        cell.toggleAttribute("data-quiet", silent);
        cell.toggleAttribute("data-lost", lost.length > 0);
        cell.textContent = set.length > 1 ? `${set.length} ×` : set.map((minute) => `${two(hour)}:${minute}`).join("");
        const times = set.some((minute) => minute !== "00") ? `, at ${set.map((minute) => `${two(hour)}:${minute}`).join(" and ")}` : "";
        const words = lost.length ? ", quiet: not sent" : silent ? ", quiet" : "";
        cell.setAttribute("aria-label", `${NAMES[day]} ${two(hour)}:00${times}${words}`);
      }
    });
  };
  const count = () => [...now.minutes.values()].reduce((sum, set) => sum + set.size, 0);
  const write = () => {
    const lines = DAYS.flatMap((day, number) =>
      [...Array(24).keys()].flatMap((hour) => [...(now.minutes.get(key(number, hour)) ?? [])].sort().map((minute) => `${day} ${two(hour)}:${minute}`)));
    text.value = [...lines, ...now.others].join("\n");
    said.textContent = `${count()} ${count() === 1 ? "time" : "times"} a week.`;
    text.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const put = (minutes, spots, on) => {
    const changed = new Map(minutes);
    for (const [day, hour] of spots) {
      if (!on) changed.delete(key(day, hour));
      else if (!changed.has(key(day, hour))) changed.set(key(day, hour), new Set(["00"]));
    }
    return changed;
  };
  const isSet = ([day, hour]) => now.minutes.has(key(day, hour));
  const span = (a, b) => Array.from({ length: Math.abs(a - b) + 1 }, (_, step) => Math.min(a, b) + step);
  const between = (from, to) => span(from[0], to[0]).flatMap((day) => span(from[1], to[1]).map((hour) => [day, hour]));

  // The one cell that Tab reaches, and the range that Shift marked from its anchor.
  let at = [0, 9];
  let anchor = null;
  const marked = () => (anchor ? between(anchor, at) : [at]);
  const mark = () => {
    body.querySelectorAll("[data-marked]").forEach((cell) => cell.removeAttribute("data-marked"));
    if (anchor) marked().forEach(([day, hour]) => cells[day][hour].setAttribute("data-marked", ""));
  };
  const go = (day, hour, extending, preventScroll = false) => {
    if (extending) anchor ??= at;
    else anchor = null;
    cells[at[0]][at[1]].tabIndex = -1;
    at = [Math.max(0, Math.min(6, day)), Math.max(0, Math.min(23, hour))];
    cells[at[0]][at[1]].tabIndex = 0;
    cells[at[0]][at[1]].focus({ preventScroll });
    mark();
    if (extending) said.textContent = `${marked().length} hours marked. Space sets or clears them.`;
  };
  const toggle = () => {
    const spots = marked();
    now.minutes = put(now.minutes, spots, !spots.every(isSet));
    draw();
    write();
  };
  const MOVES = {
    ArrowLeft: () => [at[0] - 1, at[1]],
    ArrowRight: () => [at[0] + 1, at[1]],
    ArrowUp: () => [at[0], at[1] - 1],
    ArrowDown: () => [at[0], at[1] + 1],
    PageUp: () => [at[0], at[1] - 6],
    PageDown: () => [at[0], at[1] + 6],
  };
  table.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey || (event.ctrlKey && !["Home", "End"].includes(event.key))) return;
    if (MOVES[event.key]) go(...MOVES[event.key](), event.shiftKey);
    else if (event.key === "Home") go(0, event.ctrlKey ? 0 : at[1], event.shiftKey);
    else if (event.key === "End") go(6, event.ctrlKey ? 23 : at[1], event.shiftKey);
    else if ((event.key === " " || event.key === "Enter") && !text.disabled) toggle();
    else if (event.key === "Escape" && anchor) go(...at, false);
    else return;
    event.preventDefault();
  });

  // Dragging fills the rectangle from where it began with the opposite of what was there.
  let drag = null;
  const spotOf = (node) => (node?.dataset?.hour === undefined || !body.contains(node) ? null : [Number(node.dataset.day), Number(node.dataset.hour)]);
  body.addEventListener("pointerdown", (event) => {
    const spot = spotOf(event.target);
    if (!spot || event.button !== 0 || text.disabled) return;
    if (event.pointerType === "mouse") event.preventDefault();
    go(...spot, false, true);
    drag = { from: spot, on: !isSet(spot), before: now.minutes };
    now.minutes = put(drag.before, [spot], drag.on);
    draw();
  });
  document.addEventListener("pointermove", (event) => {
    const spot = drag && spotOf(document.elementFromPoint(event.clientX, event.clientY));
    if (!spot) return;
    now.minutes = put(drag.before, between(drag.from, spot), drag.on);
    draw();
  });
  document.addEventListener("pointerup", () => {
    if (drag) write();
    drag = null;
  });
  document.addEventListener("pointercancel", () => {
    if (drag) now.minutes = drag.before; // it became a scroll
    drag = null;
    draw();
  });

  const again = () => {
    now = read();
    draw();
  };
  text.addEventListener("input", again);
  for (const field of quiet) field?.addEventListener("input", draw);
  const first = [...now.minutes.keys()][0];
  if (first) at = [DAYS.indexOf(first.slice(0, 3)), Number(first.slice(4, 6))];
  cells[at[0]][at[1]].tabIndex = 0;
  draw();
})();
