/* The reward studio's two ways of saying one formula: what is chosen is written out, what is written is chosen, as far
   as the choices can say it. The server answers which is which with every replay. */
(() => {
  "use strict";
  const form = document.querySelector("[data-studio]");
  if (!form) return;

  const mode = () => form.elements.mode.value;

  const choose = (recipe) => {
    for (const part of recipe.split(";")) {
      const [name, value] = [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)];
      const field = form.elements[name];
      if (!field) continue;
      if (field.type === "checkbox") field.checked = value === "True";
      else field.value = value;
    }
  };

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id !== "replay") return;
    const { formula, recipe } = event.detail.target.querySelector("[data-replay]")?.dataset ?? {};
    if (formula === undefined) return;
    form.querySelector("[data-inexpressible]").hidden = recipe !== undefined;
    if (mode() === "build") form.elements.formula.value = formula;
    else if (recipe !== undefined) choose(recipe);
  });
})();
