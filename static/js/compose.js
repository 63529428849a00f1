/* Live length of a post, counted by the server as the post's platform counts it, and alt text that is asked for once
   there is an image. */
(() => {
  "use strict";
  const PAUSE = 250; // milliseconds without a key before the server is asked
  const waiting = new WeakMap();

  const ask = async (field, output) => {
    const text = field.value;
    const body = new URLSearchParams({ text, csrfmiddlewaretoken: field.form.elements.csrfmiddlewaretoken.value });
    const response = await fetch(field.dataset.countUrl, { method: "POST", body });
    if (!response.ok || field.value !== text) return;
    const { length, limit, excess } = await response.json();
    output.textContent = `${length} of ${limit}` + (excess ? `: ${excess} too long` : "");
    output.toggleAttribute("data-over", excess > 0);
  };

  const count = (field) => {
    const output = document.getElementById(field.dataset.count);
    if (!output) return;
    clearTimeout(waiting.get(field));
    waiting.set(field, setTimeout(() => ask(field, output).catch(() => {}), PAUSE));
  };

  const askForAltText = (file) => {
    const alt = document.getElementById(file.dataset.alt);
    const holder = alt?.closest(".field");
    if (!holder) return;
    holder.hidden = !file.files.length;
    alt.required = file.files.length > 0;
  };

  const start = (root) => {
    root.querySelectorAll("input[type=file][data-alt]").forEach(askForAltText);
    root.querySelectorAll("[data-add-part]").forEach((button) => (button.hidden = false));
  };
  document.addEventListener("input", (event) => {
    if (event.target.matches("textarea[data-count]")) count(event.target);
  });
  document.addEventListener("focusin", (event) => {
    if (event.target.matches("textarea[data-count]")) count(event.target);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("input[type=file][data-alt]")) askForAltText(event.target);
  });
  // A thread has as many parts as somebody writes: each press adds one more field after the last.
  const addPart = (button) => {
    const last = button.closest(".field");
    const next = last.cloneNode(true);
    const number = document.querySelectorAll("textarea[name=thread]").length + 2;
    button.remove();
    const rename = (element, attribute) => element.setAttribute(attribute, `${element.getAttribute(attribute).split("--")[0]}--${number}`);
    next.querySelectorAll("[id]").forEach((element) => rename(element, "id"));
    next.querySelectorAll("[for]").forEach((element) => rename(element, "for"));
    const field = next.querySelector("textarea");
    rename(field, "aria-describedby");
    rename(field, "data-count");
    next.querySelector("[data-part]").textContent = `Part ${number} of the thread`;
    field.value = "";
    last.after(next);
    field.focus();
  };
  document.addEventListener("click", (event) => {
    if (event.target.matches("[data-add-part]")) addPart(event.target);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea[data-count]")) {
      event.preventDefault();
      event.target.form.requestSubmit();
    }
  });
  start(document);
  document.addEventListener("htmx:afterSettle", (event) => start(event.detail.target.parentElement ?? document));
})();
