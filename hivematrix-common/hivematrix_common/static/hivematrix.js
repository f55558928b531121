// The keyboard map and menus that close. Every page works without this file.
"use strict";
(() => {
  const find = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const seen = (element) => element.getClientRects().length > 0;
  const go = (selector) => find(selector)?.click();
  const rows = () => all("tbody tr").filter((row) => seen(row) && row.querySelector("a[href]"));

  function step(by) {
    const list = rows();
    const here = list.findIndex((row) => row.contains(document.activeElement));
    const there = here < 0 ? (by > 0 ? 0 : list.length - 1) : here + by;
    list[there]?.querySelector("a[href]").focus();
  }

  function close() {
    const open = all(".hm-menu[open]").pop() ?? all(".hm-why[open]").pop();
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  }

  const keys = {
    "/": () => all("input[type=search]").find(seen)?.focus(),
    "?": () => go("[data-key-map]"),
    j: () => step(1),
    k: () => step(-1),
    x: () => document.activeElement.closest("tr")?.querySelector("input[type=checkbox]")?.click(),
    "[": () => go("a[rel=prev]"),
    "]": () => go("a[rel=next]"),
    w: () => find(".hm-why:not([open]) > summary")?.click(),
    W: () => all(".hm-why:not([open]) > summary").forEach((summary) => summary.click()),
  };
  const places = { h: ".hm-brand", c: "[data-go=c]", b: "[data-go=b]", a: "[data-go=a]", o: "[data-go=o]" };
  let leading = -Infinity; // when g was pressed: the next key names a place

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return close();
    const busy = event.target.closest("input, select, textarea, [contenteditable]");
    if (busy || event.ctrlKey || event.altKey || event.metaKey || document.documentElement.dataset.keys === "off") return;
    const led = event.timeStamp - leading < 1500;
    leading = event.key === "g" && !led ? event.timeStamp : -Infinity;
    const act = led ? places[event.key] && (() => go(places[event.key])) : keys[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });

  document.addEventListener("click", (event) => {
    for (const menu of all(".hm-menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
})();
