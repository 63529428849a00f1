/* Texts while they are written, and what is known of each token.

   <section data-stream="…" data-page="…">   its [data-index] paragraphs grow as the events come; then the page's part is
                                             loaded again, with everything that is known once a text is whole
   <p data-tokens>                           one stop of the keyboard; arrow keys go from token to token, and the line
                                             [data-reading-of] says what its number is */
(() => {
  "use strict";
  const AGAIN_MS = 3000;

  const write = (place, piece) => {
    const prompt = place.dataset.prompt;
    const said = place.dataset.said ?? "";
    place.dataset.said = [...said].slice(0, piece.at).join("") + piece.text;
    const words = document.createTextNode(place.dataset.said);
    const begin = document.createElement("span");
    begin.className = "drawn__prompt";
    begin.textContent = prompt;
    place.replaceChildren(...(prompt ? [begin, words] : [words]));
  };

  // Until it is there: an error's answer is not drawn, and a broken connection has none.
  const reload = async (section) => {
    const options = { target: section, select: "#answer", swap: "outerHTML" };
    await window.htmx.ajax("GET", section.dataset.page, options).catch(() => {});
    if (section.isConnected) setTimeout(() => reload(section), AGAIN_MS);
    else follow();
  };

  const follow = () => {
    const section = document.querySelector("[data-stream]");
    if (!section || section.dataset.followed) return;
    section.dataset.followed = "";
    const source = new EventSource(section.dataset.stream);
    source.addEventListener("text", (event) => {
      const piece = JSON.parse(event.data);
      const place = section.querySelector(`[data-index="${Number(piece.index)}"]`);
      if (place) write(place, piece);
    });
    source.addEventListener("done", () => {
      source.close();
      reload(section);
    });
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      setTimeout(() => reload(section), AGAIN_MS);
    });
    addEventListener("pagehide", () => source.close(), { once: true });
    addEventListener("pageshow", (event) => event.persisted && section.isConnected && reload(section));
    count(section);
  };

  // How long a request has waited goes on counting until its first words are there.
  const count = (section) => {
    const words = section.querySelector("[data-waited]");
    if (!words) return;
    const asked = performance.now() - 1000 * Number(words.dataset.waited);
    const timer = setInterval(() => {
      if (!words.isConnected) clearInterval(timer);
      else words.textContent = `asked ${Math.round((performance.now() - asked) / 1000)} s ago`;
    }, 1000);
  };

  const reading = (text) => document.querySelector(`[data-reading-of="${text.id}"]`);
  const say = (text, token) => {
    const line = reading(text);
    if (!line) return;
    line.dataset.whole ??= line.textContent;
    const all = [...text.querySelectorAll(".token")];
    for (const each of all) each.toggleAttribute("data-here", each === token);
    line.textContent = token
      ? `“${token.textContent}”: ${token.dataset.says}, token ${all.indexOf(token) + 1} of ${all.length}`
      : line.dataset.whole;
  };

  const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  document.addEventListener("keydown", (event) => {
    const text = event.target.closest?.("[data-tokens]");
    if (!text || event.ctrlKey || event.metaKey || event.altKey) return;
    const all = [...text.querySelectorAll(".token")];
    const at = all.findIndex((each) => each.hasAttribute("data-here"));
    let next = { Home: 0, End: all.length - 1 }[event.key];
    if (event.key in STEPS) next = at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + STEPS[event.key]));
    if (next === undefined) return;
    event.preventDefault();
    say(text, all[next]);
  });
  document.addEventListener("focusout", (event) => {
    const text = event.target.closest?.("[data-tokens]");
    if (text) say(text, null);
  });
  document.addEventListener("pointerover", (event) => {
    const token = event.target.closest?.("[data-tokens] .token");
    if (token) say(token.closest("[data-tokens]"), token);
  });
  document.addEventListener("pointerout", (event) => {
    const text = event.target.closest?.("[data-tokens]");
    if (text && !text.contains(event.relatedTarget) && document.activeElement !== text) say(text, null);
  });

  follow();
})();
