"""axe-core, run inside a page of a real browser."""

from __future__ import annotations

from importlib.resources import files

from playwright.sync_api import Page

SOURCE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
RUN = """
async () => {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const { violations } = await axe.run(document, { runOnly: { type: "tag", values: tags } });
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`));
}
"""


def violations(page: Page) -> list[str]:
    """What axe-core objects to in the page as it stands, one line an element: rule, place, what to do."""
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(SOURCE)
    found: list[str] = page.evaluate(RUN)
    return found
