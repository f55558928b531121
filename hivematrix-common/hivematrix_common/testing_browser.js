// What is wrong with the page that stands in the browser, as sentences. Run by hivematrix_common.testing_browser.
() => {
  const faults = [];
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const seen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const told = (element) => `<${element.tagName.toLowerCase()}> ${(element.textContent || element.name || "").trim().slice(0, 40)}`;
  const named = (element) =>
    (element.getAttribute("aria-label") || "").trim() ||
    (element.getAttribute("aria-labelledby") || "").split(/\s+/).map((id) => document.getElementById(id)?.textContent || "").join(" ").trim() ||
    [...(element.labels || [])].map((label) => label.textContent).join(" ").trim() ||
    (element.textContent || "").trim();

  const heads = all("h1").filter(seen);
  if (heads.length !== 1) faults.push(`${heads.length} h1`);
  if (!document.title.trim() || document.title.startsWith(" ")) faults.push("no title");
  if (document.documentElement.lang !== "en") faults.push("no language");
  if (all("main").length !== 1) faults.push("not one main");
  let level = 1;
  for (const head of all("h1, h2, h3, h4").filter(seen)) {
    if (Number(head.tagName[1]) > level + 1) faults.push(`a level is left out before ${told(head)}`);
    level = Number(head.tagName[1]);
  }
  for (const input of all("input:not([type=hidden]), select, textarea").filter(seen)) {
    const label = input.labels?.length || input.getAttribute("aria-label");
    if (!label) faults.push(`no label: ${told(input)} ${input.name}`);
  }
  for (const act of all("a[href], button, summary").filter(seen)) if (!named(act)) faults.push(`no name: ${act.outerHTML.slice(0, 80)}`);
  for (const place of all("nav, section, [role=region]")) if (!named(place) || (!place.hasAttribute("aria-label") && !place.hasAttribute("aria-labelledby"))) faults.push(`a landmark without a name: ${place.outerHTML.slice(0, 80)}`);
  for (const table of all("table")) {
    if (!table.caption) faults.push("a table without caption");
    for (const cell of all("th", table)) if (!cell.scope) faults.push(`no scope: ${told(cell)}`);
  }
  for (const picture of all("svg").filter(seen)) if (!picture.closest("[aria-hidden=true]") && !picture.getAttribute("aria-label") && !picture.querySelector(":scope > title")) faults.push("a drawing without words");
  const ids = all("[id]").map((element) => element.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) faults.push(`twice on the page: #${id}`);
  for (const name of ["aria-labelledby", "aria-describedby"]) for (const element of all(`[${name}]`)) for (const id of element.getAttribute(name).split(/\s+/)) if (!document.getElementById(id)) faults.push(`${name} leads nowhere: ${id}`);
  for (const form of all("form[method=post]")) if (!form.querySelector("input[name=csrf_token]")?.value) faults.push(`no csrf_token: ${form.action}`);
  if (all("[style], style, [onclick], script:not([src])").length) faults.push("inline style or script");

  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    const wide = all("body *").filter((element) => element.getBoundingClientRect().right > root.clientWidth + 1 && !element.closest(".hm-wide, .hm-subnav, svg") && seen(element));
    faults.push(`scrolls sideways: ${wide.slice(-1).map(told)}`);
  }

  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parsed = (colour) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((part, at) => part * top[3] + below[at] * (1 - top[3])).concat(1);
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const layer = parsed(getComputedStyle(at).backgroundColor);
      if (layer[3]) layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const poor = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("svg, .visually-hidden, .hm-skip, script, option") || !seen(element)) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const below = ground(element);
    const found = ratio(over(parsed(style.color), below), below);
    const enough = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    if (found < enough) poor.add(`contrast ${found.toFixed(2)} of ${told(element)}`);
    if (size < 12.9) poor.add(`${size} px: ${told(element)}`);
  }
  for (const control of all(".form-control, .form-select").filter(seen)) {
    const found = ratio(parsed(getComputedStyle(control).borderTopColor), ground(control.parentElement));
    if (found < 3) poor.add(`edge ${found.toFixed(2)} of ${control.name}`);
  }
  for (const target of all("a[href], button, summary, input:not([type=hidden]), select").filter(seen)) {
    const box = target.getBoundingClientRect();
    const inline = getComputedStyle(target).display === "inline" || target.closest("label, .visually-hidden, .hm-skip");
    if (!inline && (box.height < 24 || box.width < 24)) poor.add(`a target of ${box.width.toFixed()} x ${box.height.toFixed()}: ${told(target)}`);
  }
  return [...faults, ...poor];
};
