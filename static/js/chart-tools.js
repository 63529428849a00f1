/* The tools above the charts of a run: zoom, smoothing, runs beside. All of it works from the keyboard. */
(() => {
  "use strict";
  const tools = document.querySelector("[data-chart-tools]");
  const store = window.KilroyCharts?.store;
  if (!tools || !store) return;
  const WAIT_MS = 250;
  const unit = tools.dataset.unit;
  const range = tools.querySelector("[data-zoom-range]");
  const slider = tools.querySelector("[data-smooth]");
  const keys = tools.querySelector("[data-run-keys]");
  const boxes = [...tools.querySelectorAll("[type=checkbox][name=run]")]; // none where the page itself says which runs
  tools.querySelector("[data-needs-scripts]").classList.remove("held");

  let whole = [0, 0]; // all that was measured, from before zooming

  const zooms = {
    in: ([first, last]) => [Math.round(first + (last - first) / 4), Math.round(last - (last - first) / 4)],
    out: ([first, last]) => [Math.round(first - (last - first) / 2), Math.round(last + (last - first) / 2)],
    earlier: ([first, last]) => [first, last].map((step) => step - Math.max(0, Math.min(Math.round((last - first) / 2), first - whole[0]))),
    later: ([first, last]) => [first, last].map((step) => step + Math.max(0, Math.min(Math.round((last - first) / 2), whole[1] - last))),
    all: () => null,
  };
  tools.addEventListener("click", (event) => {
    const button = event.target.closest("[data-zoom]");
    if (!button) return;
    const view = zooms[button.dataset.zoom](store.view ?? whole);
    store.zoom(view && view[0] <= whole[0] && view[1] >= whole[1] ? null : view);
  });

  const width = () => (Number(slider.value) ? 2 ** Number(slider.value) : 0);
  const said = () => (width() ? `mean over ${width()} ${unit}s` : "off");
  const chosen = () => (boxes.length ? boxes.filter((box) => box.checked).map((box) => box.value) : store.chosen);
  let later;
  const change = () => {
    slider.setAttribute("aria-valuetext", said());
    tools.querySelector("[data-smooth-words]").textContent = said();
    clearTimeout(later);
    later = setTimeout(() => store.set(width(), chosen()), WAIT_MS);
  };
  tools.addEventListener("input", change);

  const key = (label, tone, dash) => {
    const item = document.createElement("li");
    item.className = "chart__key";
    item.dataset.tone = tone;
    if (dash) item.dataset.dash = "";
    item.textContent = label;
    return item;
  };

  store.changed = () => {
    if (!store.view) whole = store.extent();
    const [first, last] = store.view ?? whole;
    window.Kilroy.say(range, store.view ? `${unit}s ${first}–${last}` : `all ${unit}s`);
    for (const button of tools.querySelectorAll("[data-zoom]")) {
      button.setAttribute("aria-disabled", String(!store.view && ["out", "earlier", "later", "all"].includes(button.dataset.zoom)));
    }
    const beside = store.beside().map(({ run, style }) => key(run.pinned ? `${run.label} (baseline)` : run.label, style.tone, true));
    keys.replaceChildren(...(beside.length ? [key("this run", "learning", false), ...beside] : []));
  };
  if (width()) change(); // the browser kept where the slider was
})();
