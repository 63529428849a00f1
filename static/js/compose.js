/* Live length of a post, counted by the server as the post's platform counts it; alt text that is asked for once there
   is an image; the time field beside its choice; and a draft that survives a reload. */
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

  const showTime = (form) => {
    const field = form.querySelector("[data-when]");
    if (field) field.hidden = form.elements.when.value !== field.dataset.when;
  };

  // The image itself is not sent back by the server: the preview shows it from the file that was chosen.
  const showImage = () => {
    const place = document.querySelector("[data-preview-image]");
    const file = document.getElementById("compose-image")?.files[0];
    if (!place || !file) return;
    const reader = new FileReader();
    reader.addEventListener("load", () => {
      const image = document.createElement("img");
      image.src = reader.result;
      image.alt = document.getElementById("compose-alt").value;
      place.replaceChildren(image);
    });
    reader.readAsDataURL(file);
  };

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
    return field;
  };

  /* drafts: kept in this tab until the server says that the form with this number was added */
  const { stored } = window.Kilroy;
  const kept = (form) => [...form.elements].filter((field) => /^(text|alt_text|thread|when|at)$/.test(field.name));
  const save = (form) => {
    const values = kept(form).filter((field) => field.type !== "radio" || field.checked).map((field) => [field.name, field.value]);
    stored(() => sessionStorage.setItem(form.dataset.draft, JSON.stringify({ values, number: form.elements.draft.value })));
  };
  const addPartsFor = (form, values) => {
    const written = values.filter(([name]) => name === "thread").map(([, value]) => value);
    const wanted = written.findLastIndex(Boolean) + 1;
    for (let has = kept(form).filter((field) => field.name === "thread").length; has < wanted; has += 1) {
      const button = form.querySelector("[data-add-part]");
      if (button) addPart(button);
    }
  };
  const restore = (form) => {
    if ("answered" in form.dataset) return; // the server's page has the fields, and what was wrong
    const { values = [], number } = JSON.parse(stored(() => sessionStorage.getItem(form.dataset.draft)) ?? "{}");
    if (form.dataset.added.split(" ").includes(number)) {
      stored(() => sessionStorage.removeItem(form.dataset.draft));
      return;
    }
    addPartsFor(form, values);
    const places = {};
    for (const [name, value] of values) {
      const at = (places[name] = (places[name] ?? -1) + 1);
      const fields = kept(form).filter((field) => field.name === name);
      if (fields[0]?.type === "radio") {
        if (!new URLSearchParams(location.search).has("at")) for (const field of fields) field.checked = field.value === value;
      } else if (fields[at] && !fields[at].value) {
        fields[at].value = value;
        if (name === "thread" && value) fields[at].closest("details")?.setAttribute("open", "");
      }
    }
  };
  for (const form of document.querySelectorAll("form[data-draft]")) {
    restore(form);
    if (form.elements.when) showTime(form);
    form.addEventListener("input", () => save(form));
    form.addEventListener("change", () => form.elements.when && showTime(form));
    form.addEventListener("submit", () => save(form)); // as it is sent: it may not arrive
  }
  document.addEventListener("htmx:afterSettle", (event) => event.detail.target.id === "preview" && showImage());

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
  document.addEventListener("click", (event) => {
    if (event.target.matches("[data-add-part]")) addPart(event.target).focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea[data-count]")) {
      event.preventDefault();
      if (!event.repeat) event.target.form.requestSubmit();
    }
  });
  start(document);
  document.addEventListener("htmx:afterSettle", (event) => start(event.detail.target.parentElement ?? document));
})();
