/* Passkeys: says where they cannot work, and what went wrong in words. */
(() => {
  "use strict";
  // An address of numbers can have no passkeys, whatever the browser can do.
  const numbers = /^[\d.]+$|^\[/.test(location.hostname);
  if (numbers || !window.isSecureContext || !window.PublicKeyCredential) {
    for (const hint of document.querySelectorAll("[data-passkey-hint]")) hint.hidden = false;
    for (const button of document.querySelectorAll("[data-passkey-button]")) button.disabled = true;
  }

  const words = {
    NotAllowedError: "Nothing happened: the request was cancelled or took too long. Try again.",
    InvalidStateError: "This device has a passkey for your account already.",
    NotSupportedError: "This device cannot make a passkey that Kilroy can use. Try another one.",
  };
  document.addEventListener("allauth.error", (event) => {
    event.preventDefault();
    const { exception } = event.detail;
    window.Kilroy.toast(words[exception.name] ?? `The passkey could not be used (${exception.message}). Try again.`);
  });
})();
