/* The operator's panel: django-unfold leaves it to others to mark the parts of its pages as places that a screen reader
   can go to, by name. */
(() => {
  "use strict";
  const LANDMARKS = {
    "nav-sidebar": { role: "region", "aria-label": "Sidebar" },
    "nav-sidebar-apps": { "data-simplebar-aria-label": "Menu" },
    main: { role: "main" },
  };
  document.addEventListener("DOMContentLoaded", () => {
    for (const [id, marks] of Object.entries(LANDMARKS)) {
      for (const [name, value] of Object.entries(marks)) document.getElementById(id)?.setAttribute(name, value);
    }
  });
})();
