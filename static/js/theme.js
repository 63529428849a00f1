/* Runs before the first paint, so that a chosen theme never flashes the other one. */
(() => {
  "use strict";
  const KEY = "kilroy-theme";
  const ORDER = ["system", "light", "dark"];
  const root = document.documentElement;

  const stored = () => {
    try {
      const theme = localStorage.getItem(KEY);
      return ORDER.includes(theme) ? theme : "system";
    } catch {
      return "system"; // storage is forbidden in some private windows
    }
  };

  const apply = (theme) => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
  };

  const label = (button, theme) => {
    button.querySelector("[data-theme-name]").textContent = theme;
    button.setAttribute("aria-label", `Colours: ${theme}. Change.`);
  };

  apply(stored());
  root.classList.add("js");

  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      label(button, stored());
      button.hidden = false;
      button.addEventListener("click", () => {
        const next = ORDER[(ORDER.indexOf(stored()) + 1) % ORDER.length];
        try {
          localStorage.setItem(KEY, next);
        } catch {
          // the choice then lasts for this page only
        }
        apply(next);
        label(button, next);
        document.dispatchEvent(new CustomEvent("kilroy:theme"));
      });
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    document.dispatchEvent(new CustomEvent("kilroy:theme"));
  });
})();
