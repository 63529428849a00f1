/* Review by single keys. A key presses the button that names it, so there is nothing that only a key can do. Keys do
   nothing while somebody types, are not taken from other shortcuts, and can be switched off for good. */
(() => {
  "use strict";
  const STORED = "kilroy-single-keys";
  const toggle = document.querySelector("[data-single-keys]");
  const desk = () => document.getElementById("review");
  const on = () => document.documentElement.dataset.keys === "on";

  const set = (wanted) => {
    document.documentElement.dataset.keys = wanted ? "on" : "off";
    toggle.setAttribute("aria-pressed", String(wanted));
    toggle.querySelector("[data-single-keys-state]").textContent = wanted ? "on" : "off";
  };
  toggle.classList.remove("held");
  set(window.Kilroy.stored(() => localStorage.getItem(STORED)) !== "off");
  toggle.addEventListener("click", () => {
    set(!on());
    window.Kilroy.stored(() => localStorage.setItem(STORED, on() ? "on" : "off"));
  });

  const press = (key) => {
    const sheet = desk().querySelector("[data-sheet='decline']");
    const within = /^[1-9]$/.test(key) ? sheet : desk();
    if (/^[1-9]$/.test(key) && !sheet?.open) return false;
    const target = within?.querySelector(`[data-key="${key}"]`);
    target?.click();
    return Boolean(target);
  };

  const typing = (node) => node.closest?.("input:not([type=hidden]), textarea, select, [contenteditable]");
  const KEYS = { ArrowRight: "s" };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      const open = desk()?.querySelector("details[open]");
      if (!open) return;
      open.open = false;
      open.querySelector("summary").focus();
      return;
    }
    if (!on() || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    // A key that is held down, or pressed before the next post is there, must not decide on a post that nobody saw.
    if (event.repeat || !desk() || desk().querySelector(".htmx-request")) return;
    if (typing(event.target) || event.target.closest?.("details.menu")) return;
    const key = KEYS[event.key] ?? event.key.toLowerCase();
    if (/^[a-z1-9]$/.test(key) && press(key)) event.preventDefault();
  });

  // An opened sheet takes the focus, and closes the other. (It has no id: the next post's stays closed.)
  document.addEventListener("toggle", (event) => {
    const sheet = event.target;
    if (!sheet.matches?.("#review details") || !sheet.open) return;
    for (const other of desk().querySelectorAll("details[open]")) if (other !== sheet) other.open = false;
    const first = sheet.querySelector("textarea, [name=reason]");
    first?.focus();
    if (first?.matches("textarea")) first.setSelectionRange(first.value.length, first.value.length);
  }, true);

  // The next post is read out, and keys go on from there.
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id !== "review") return;
    (document.getElementById("review-edit-error") ? document.getElementById("review-edit-text") : document.getElementById("review-post"))?.focus();
  });
})();
