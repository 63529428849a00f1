/* Lists with boxes to tick: all on the page at once, a range with Shift, and how many are ticked. */
(() => {
  "use strict";
  const all = document.querySelector("[data-select-all]");
  if (!all) return;
  const told = document.querySelector("[data-selected]");
  const form = all.form;
  const boxes = () => [...form.elements].filter((element) => element.name === "post" && element.type === "checkbox");
  let last = null;

  const show = () => {
    const ticked = boxes().filter((box) => box.checked).length;
    all.checked = ticked > 0 && ticked === boxes().length;
    all.indeterminate = ticked > 0 && !all.checked;
    window.Kilroy.say(told, ticked ? `${ticked} ticked` : "All on this page");
  };
  all.closest("label").hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes()) box.checked = all.checked;
    show();
  });
  document.addEventListener("click", (event) => {
    const box = event.target;
    if (!boxes().includes(box)) return;
    const among = boxes();
    if (event.shiftKey && among.includes(last)) {
      const [from, to] = [among.indexOf(last), among.indexOf(box)].sort((a, b) => a - b);
      for (const between of among.slice(from, to + 1)) between.checked = box.checked;
    }
    last = box;
    show();
  });
  document.addEventListener("htmx:afterSettle", show);
  show();
})();
