// What every page does: keys that turn it, the two layouts of a diff, comments in two languages,
// guesses before answers, figures.
"use strict";

const figures = {}; // of figures/NAME.js: figures.NAME = (node, data) => …
const figureData = {}; // of figures/NAME.data.js

const all = (selector, node = document) => [...node.querySelectorAll(selector)];

// The arrow keys turn the pages, unless they move something else: a slider, a wide table
document.addEventListener("keydown", (event) => {
  const menu = document.querySelector(".menu[open]");
  if (event.key === "Escape" && menu) {
    menu.open = false;
    menu.firstElementChild.focus();
  }
  const held = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
  const moves = "input, select, textarea, summary, .wide, pre, .figure, .poem, [role=group]";
  if (held || event.target.closest(moves)) return;
  const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  if (rel) document.querySelector(`a[rel=${rel}]`)?.click();
});
document.addEventListener("click", ({ target }) => {
  const menu = document.querySelector(".menu[open]");
  if (menu && !menu.contains(target)) menu.open = false;
});

// One button of a group is pressed; choose(value) shows what it stands for
function buttons(name, choose) {
  const group = all(`[data-${name}]`);
  for (const button of group) {
    button.addEventListener("click", () => {
      for (const other of group) other.setAttribute("aria-pressed", other === button);
      choose(button.dataset[name]);
    });
  }
}

// Side by side, a line that stayed stands on both sides
buttons("layout", (layout) => {
  const diff = document.querySelector(".diff");
  diff.classList.toggle("split", layout === "split");
  for (const twin of all(".twin", diff)) twin.remove();
  for (const line of layout === "split" ? all(":scope > span.line", diff) : []) {
    const twin = line.querySelector("code").cloneNode(true);
    twin.className = "twin";
    twin.setAttribute("aria-hidden", true);
    line.append(twin);
  }
});
if (matchMedia("(min-width: 62rem)").matches) document.querySelector("[data-first]")?.click();

// The other language of each comment waits in an attribute
buttons("comments", () => {
  for (const comment of all("[data-en]")) {
    [comment.textContent, comment.dataset.en] = [comment.dataset.en, comment.textContent];
  }
});

for (const form of all("form.guess")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const said = form.querySelector("[role=status]"), answer = form.nextElementSibling;
    said.textContent = said.dataset.text.replace("{}", form.elements.guess.value);
    answer.open = true;
  });
}

// On paper the new lines are there without being asked for
addEventListener("beforeprint", () => {
  for (const answer of all("details.answer")) answer.open = true;
});

// What is wider than the page scrolls, by keyboard too
function findScrolling() {
  for (const box of all(".wide, pre")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("load", findScrolling);
addEventListener("resize", findScrolling);
document.addEventListener("toggle", findScrolling, true);

addEventListener("DOMContentLoaded", () => {
  for (const node of all("[data-figure]")) {
    const name = node.dataset.figure, words = JSON.parse(node.dataset.words);
    figures[name](node, { ...figureData[name], words }, document.documentElement.lang);
  }
});
