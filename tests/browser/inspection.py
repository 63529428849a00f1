"""What is looked for in a page by its own browser."""

CANARY = """
window.executed = [];
window.violations = [];
window.xss = () => window.executed.push("xss()");
addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} blocked ${event.blockedURI || "inline"}`));
"""
"""Put into every page before anything of its own runs."""

INSPECT = """
(html) => {
  const found = [];
  const tags = new Set(["IFRAME", "FRAME", "OBJECT", "EMBED", "APPLET", "BASE", "PORTAL", "MATH", "MARQUEE", "X",
    "FOREIGNOBJECT", "ANIMATE", "SET", "TEMPLATE", "XMP", "PLAINTEXT", "LISTING", "ISINDEX", "KEYGEN", "FRAMESET"]);
  const addresses = new Set(["href", "src", "srcset", "action", "formaction", "data", "poster", "ping", "background",
    "xlink:href", "hx-get", "hx-post", "hx-put", "hx-delete", "hx-patch", "hx-push-url"]);
  const look = (root, where, styles) => {
    for (const node of root.querySelectorAll("*")) {
      const name = node.tagName.toUpperCase();
      const say = (what) => found.push(`${where}: <${name.toLowerCase()}> ${what}`);
      const nonce = node.nonce || node.getAttribute("nonce");
      if (tags.has(name)) say("stands there");
      if (name === "META" && node.httpEquiv) say(`has http-equiv=${node.httpEquiv}`);
      if (name === "STYLE" && !nonce) say("has no nonce");
      const data = node.type === "application/json" && nonce;
      if (name === "SCRIPT" && !node.getAttribute("src") && !data) say("is inline");
      for (const { name: attribute, value } of node.attributes) {
        const bad = /^(data-)?(on|hx-on|v-|ng-|x-|sse-|ws-)|^(data-)?hx-(vars|ext|ws|sse)$/;
        if (bad.test(attribute)) say(`has ${attribute}`);
        if (/^(data-)?hx-(vals|headers)$/.test(attribute) && !/^\\{"/.test(value)) say(`has ${attribute}=${value}`);
        if (attribute.startsWith("hx-trigger") && /\\[|xss/.test(value)) say(`has ${attribute}=${value}`);
        if (attribute === "style" && styles) say("has a style");
        if (!addresses.has(attribute)) continue;
        let url;
        try { url = new URL(value, location.href); } catch { continue; }
        const image = url.protocol === "data:" && name === "IMG";
        const link = url.protocol.startsWith("http") && name === "A" && attribute === "href";
        if (!image && !link && url.origin !== location.origin) say(`leads to ${value.slice(0, 60)}`);
        if (name === "A" && url.hostname === "evil.invalid") say(`leads to ${value.slice(0, 60)}`);
      }
    }
  };
  look(document, "page", false);
  look(new DOMParser().parseFromString(html, "text/html"), "source", true);
  return { found: [...new Set(found)].slice(0, 300), executed: window.executed, violations: window.violations };
}
"""
"""The elements and attributes of the page, and of its source, that no page of ours has; what ran; what was blocked."""
