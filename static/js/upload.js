/* An upload that says how far it is. Without this script the browser sends the same form in the ordinary way. */
(() => {
  "use strict";
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

  const show = (form, request) => {
    const box = form.querySelector("[data-upload-progress]");
    const [bar, status] = [box.querySelector("progress"), box.querySelector("[role=status]")];
    const button = form.querySelector(".form__actions button");
    let told = -10;
    const say = (words) => window.Kilroy.say(status, words);
    box.hidden = false;
    button.disabled = true;
    say("Sending the file…");
    request.upload.addEventListener("progress", (event) => {
      if (!event.lengthComputable) return;
      const share = Math.floor((100 * event.loaded) / event.total);
      bar.value = share;
      if (share < told + 5 && share < 100) return; // whoever hears the page is told every twentieth
      told = share;
      say(`${share} %: ${megabytes(event.loaded)} of ${megabytes(event.total)}`);
    });
    request.upload.addEventListener("load", () => {
      bar.removeAttribute("value");
      say("Sent. The file is being looked through…");
    });
    return (words) => {
      button.disabled = false;
      bar.hidden = box.querySelector("[data-upload-cancel]").hidden = true;
      say(words);
    };
  };

  const send = (form) => {
    const request = new XMLHttpRequest();
    const end = show(form, request);
    request.open("POST", form.action);
    request.addEventListener("load", () => {
      if (request.status < 400) {
        location.assign(request.responseURL);
        return;
      }
      const answer = new DOMParser().parseFromString(request.responseText, "text/html").querySelector("[data-upload]");
      if (request.status === 400 && answer) {
        form.replaceWith(document.adoptNode(answer));
        document.querySelector("[data-upload] [aria-invalid], [data-upload] [role=alert]")?.focus();
      } else end(`The server answered with an error (${request.status}). Nothing was kept: try again.`);
    });
    request.addEventListener("error", () => end("The connection broke. Nothing was kept: try again."));
    request.addEventListener("abort", () => end("Cancelled. Nothing was kept."));
    form.querySelector("[data-upload-cancel]").addEventListener("click", () => request.abort(), { once: true });
    const box = form.querySelector("[data-upload-progress]");
    box.querySelectorAll("[hidden]").forEach((node) => (node.hidden = false));
    request.send(new FormData(form));
  };

  // Back on a page that the browser kept: the file was taken, and another may be sent.
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.querySelectorAll("form[data-upload]")) {
      form.querySelector(".form__actions button").disabled = false;
      form.querySelector("[data-upload-progress]").hidden = true;
    }
  });

  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-upload]") || event.defaultPrevented) return;
    event.preventDefault();
    send(event.target);
  });
})();
