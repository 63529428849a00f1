/* Buttons that copy a field: <button data-copy="id of the field" hidden>. Without the clipboard they stay hidden: the
   field can be selected. */
(() => {
  "use strict";
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const field = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(field.value);
        window.Kilroy?.toast("Copied.", "success");
      } catch {
        field.select();
        window.Kilroy?.toast("The browser does not let this page copy. The address is selected: copy it yourself.");
      }
    });
  }
})();
