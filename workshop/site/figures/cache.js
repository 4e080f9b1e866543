// v15: which products of query and key a step computes, without and with the cache, and their sum.
"use strict";

figures.cache = function (node, { words, poem, prompt, n_head, n_layer }) {
  const chars = [...poem], first = [...prompt].length, times = n_head * n_layer;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const slider = kit.slide(words.written, { min: first, max: chars.length, step: 1, value: Math.min(24, chars.length) }, draw);
  const button = kit.make("button", { type: "button", onclick: play }, words.write);
  const text = kit.make("p", { class: "written", lang: "zh-CN" }), grids = kit.make("div", { class: "two" });
  const sums = kit.make("div", { role: "status" });
  let timer = null;
  node.append(kit.make("div", { class: "keys" }, button), slider.node, text, grids, sums);
  draw();

  function play() {
    const going = timer !== null;
    clearInterval(timer);
    timer = null;
    button.textContent = words.write;
    if (going) return;
    if (slider.value === chars.length) slider.input.value = first;
    else if (still.matches) slider.input.value = chars.length;
    else {
      button.textContent = words.stop;
      timer = setInterval(() => (slider.value < chars.length ? slider.input.stepUp() : play()) ?? draw(), 250);
    }
    draw();
  }

  // Pairs (query, key) that a step looks at: rows are queries, columns are keys up to the same
  function grid(title, n, computed) {
    const size = 100 / chars.length, cell = (i, j) => `M${j * size} ${i * size}h${size}v${size}h${-size}z`;
    const path = (test) => Array.from({ length: n }, (_, i) => Array.from({ length: i + 1 },
      (_, j) => (test(i) ? cell(i, j) : "")).join("")).join("");
    return kit.make("div", {}, kit.make("p", { class: "name" }, title), kit.svg("svg",
      { viewBox: "0 0 100 100", role: "img", "aria-label": title, class: "triangle" },
      kit.svg("path", { class: "kept", d: path((i) => !computed(i)) }),
      kit.svg("path", { class: "computed", d: path(computed) })));
  }

  function draw() {
    const n = slider.value, pairs = (t) => (t * (t + 1)) / 2;
    const steps = Array.from({ length: n - first + 1 }, (_, i) => first + i); // texts that were read
    const without = kit.sum(steps.map(pairs)), with_it = pairs(n);
    slider.say(String(n));
    text.replaceChildren(kit.make("b", {}, prompt), chars.slice(first, n).join(""));
    grids.replaceChildren(grid(words.without, n, () => true),
      grid(words.with, n, (i) => (n === first ? true : i === n - 1)));
    const row = (name, a, b) => [name, a.toLocaleString("en"), b.toLocaleString("en")];
    sums.replaceChildren(kit.table([words.so_far, "v14", "v15"], [
      row(words.positions, kit.sum(steps), n),
      row(words.products, without * times, with_it * times),
    ]), kit.make("p", {}, kit.fill(words.says, { ratio: (without / with_it).toFixed(1) })));
  }
};
