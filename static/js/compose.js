/* Live length of a post as its platform counts it, and alt text that is asked for once there is an image.
   The server counts again and decides. */
(() => {
  "use strict";
  const COUNTERS = {
    characters: (text) => [...text].length,
    utf16: (text) => text.length,
    graphemes: (text) => ("Segmenter" in Intl ? [...new Intl.Segmenter().segment(text)].length : [...text].length),
    weighted: (text) => {
      const links = text.match(/https?:\/\/\S+/g) ?? [];
      const rest = text.replace(/https?:\/\/\S+/g, "").normalize("NFC");
      const isLight = (code) => code <= 4351 || (code >= 8192 && code <= 8205) || (code >= 8208 && code <= 8223) || (code >= 8242 && code <= 8247);
      return links.length * 23 + [...rest].reduce((sum, c) => sum + (isLight(c.codePointAt(0)) ? 1 : 2), 0);
    },
  };

  const count = (field) => {
    const output = document.getElementById(field.dataset.count);
    if (!output) return;
    const limit = Number(field.dataset.maxLength);
    const length = (COUNTERS[field.dataset.countsBy] ?? COUNTERS.characters)(field.value);
    const over = limit > 0 && length > limit;
    output.textContent = limit > 0 ? `${length} of ${limit}` : String(length);
    if (over) output.textContent += `: ${length - limit} too long`;
    output.toggleAttribute("data-over", over);
  };

  const askForAltText = (file) => {
    const alt = document.getElementById(file.dataset.alt);
    const holder = alt?.closest(".field");
    if (!holder) return;
    holder.hidden = !file.files.length;
    alt.required = file.files.length > 0;
  };

  const start = (root) => {
    root.querySelectorAll("textarea[data-count]").forEach(count);
    root.querySelectorAll("input[type=file][data-alt]").forEach(askForAltText);
    root.querySelectorAll("[data-add-part]").forEach((button) => (button.hidden = false));
  };
  document.addEventListener("input", (event) => {
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
    field.value = "";
    last.after(next);
    count(field);
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
