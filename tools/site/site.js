// What the pages do: unfold, turn with the arrow keys, draw curves, and let versions write.
"use strict";

const babygpt = { models: new Map() };

// Each file in weights/ calls this: from disk, browsers refuse fetch(), but not a classic script
babygpt.loaded = (name, saved) => {
  try {
    babygpt.models.set(name, new BabyGPT(saved));
  } catch (error) {
    babygpt.models.set(name, error);
  }
};

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// --- pages: fold and unfold, previous and next

for (const button of document.querySelectorAll(".folded button")) {
  button.addEventListener("click", () => {
    const body = button.closest("tbody").nextElementSibling;
    body.hidden = !body.hidden;
    button.setAttribute("aria-expanded", String(!body.hidden));
  });
}

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, circle") || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  const link = rel && document.querySelector(`a[rel=${rel}]`);
  if (link) link.click();
});

// --- curves: a line for each seed of each version that is chosen

const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2"];

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawCurves(form) {
  const data = JSON.parse(document.getElementById("curves-data").textContent);
  const picture = form.querySelector("svg"), status = form.querySelector("output");
  const W = 640, H = 380, left = 46, right = 600, top = 30, bottom = 340;

  function draw() {
    const chosen = [...form.querySelectorAll("input[name=version]:checked")].map((box) => box.value);
    const kind = form.elements.kind.value, axis = form.elements.axis.value;
    const lines = data.filter((run) => chosen.includes(run.name));
    picture.replaceChildren();
    status.value = status.defaultValue;
    const points = lines.flatMap((run) => run.points);
    if (!points.length) return;
    const across = Math.max(...points.map((p) => p[axis]));
    const values = points.filter((p) => p.step > 0).map((p) => p[kind]);
    const low = Math.min(...values), high = Math.max(...values);
    const x = (p) => left + ((right - left) * p[axis]) / across;
    const y = (p) => Math.max(top, bottom - ((bottom - top) * (p[kind] - low)) / (high - low || 1));
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      const value = low + part * (high - low), height = bottom - part * (bottom - top);
      picture.append(svg("line", { x1: left, x2: right, y1: height, y2: height, class: "grid" }));
      picture.append(svg("text", { x: 4, y: height + 4 }, value.toFixed(2)));
    }
    const label = (name) => form.querySelector(`[name=${name}]:checked`).labels[0].textContent.trim();
    picture.append(svg("text", { x: 4, y: 12 }, label("kind")), svg("text", { x: left, y: H - 12 }, "0"));
    const end = svg("text", { x: right, y: H - 12, "text-anchor": "end" }, `${Math.round(across).toLocaleString()} (${label("axis")})`);
    picture.append(end);
    const names = new Map(); // of each version: where its name goes, beside the lowest of its lines
    lines.forEach((run) => {
      const which = chosen.indexOf(run.name);
      const shown = run.points.filter((p) => p.step > 0);
      const d = shown.map((p, i) => `${i ? "L" : "M"}${x(p).toFixed(1)} ${y(p).toFixed(1)}`).join("");
      const dash = DASHES[(which + Math.floor(which / 5)) % 5]; // no two versions share both
      picture.append(svg("path", { d, class: `line c${which % 5}`, "stroke-dasharray": dash }));
      for (const p of shown) {
        const text = form.dataset.point
          .replace("{name}", run.name).replace("{seed}", run.seed).replace("{step}", p.step)
          .replace("{seconds}", Math.round(p.seconds)).replace("{loss}", p[kind].toFixed(4));
        const dot = svg("circle", { cx: x(p), cy: y(p), r: 5, tabindex: -1, role: "img", "aria-label": text });
        dot.append(svg("title", {}, text));
        for (const event of ["focus", "mouseenter"]) dot.addEventListener(event, () => (status.value = text));
        picture.append(dot);
      }
      const last = shown.at(-1), lower = names.get(run.name);
      if (!lower || lower.y < y(last)) names.set(run.name, { x: x(last) + 6, y: y(last) });
    });
    let below = H; // from the lowest name up, each at least a line above the one before
    for (const [name, at] of [...names].sort((a, b) => b[1].y - a[1].y)) {
      below = Math.min(at.y + 4, below - 13);
      picture.append(svg("text", { x: at.x, y: below, class: "name" }, name));
    }
    picture.querySelector("circle").setAttribute("tabindex", 0); // from it on with the arrow keys
  }

  picture.addEventListener("keydown", (event) => {
    const dots = [...picture.querySelectorAll("circle")], step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) dots[dots.indexOf(event.target) + step]?.focus();
  });

  form.addEventListener("change", draw);
  draw();
}

for (const form of document.querySelectorAll("form.curves")) drawCurves(form);

// --- play: several versions write side by side

const files = new Map(); // of each model: a promise of it, or of what is wrong with its file

function load(name) {
  if (!files.has(name)) {
    files.set(name, new Promise((resolve) => {
      const script = element("script", { src: `../weights/${name}.js` });
      script.onload = () => resolve(babygpt.models.get(name) ?? new Error(script.src));
      script.onerror = () => resolve(new Error(script.src));
      document.head.append(script);
    }));
  }
  return files.get(name);
}

const shown = (char) => ({ "\n": "⏎", " ": "␣" })[char] ?? char;

function attentionTable(model, chars, words) {
  const heads = Object.keys(model.attention.at(-1) ?? {});
  if (!heads.length) return [];
  const seen = chars.slice(-model.attention.length);
  return heads.map((head) => {
    const rows = model.attention.map((weights, i) => {
      const cells = seen.map((_, j) => {
        const weight = weights[head][j] ?? 0;
        const cell = element("td", { title: `${shown(seen[i])} → ${shown(seen[j])}: ${Math.round(100 * weight)} %` });
        cell.style.setProperty("--weight", weight.toFixed(3));
        return cell;
      });
      return element("tr", {}, element("th", { scope: "row" }, shown(seen[i])), ...cells);
    });
    const columns = seen.map((char) => element("th", { scope: "col" }, shown(char)));
    const table = element("table", { className: "attention" },
      element("caption", {}, words.head.replace("{name}", head)),
      element("tr", {}, element("td"), ...columns), ...rows);
    return table;
  });
}

function play(form) {
  const words = form.dataset, stage = document.getElementById("stage"), status = document.getElementById("status");
  let running = 0;

  async function write(name, number, box) {
    const model = await load(name);
    const problem = (text) => box.replaceChildren(element("p", { className: "error" }, text));
    if (model instanceof Error) return problem(words.broken.replace("{file}", `weights/${name}.js`));
    const chars = [...form.elements.prompt.value.replaceAll("\\n", "\n")];
    const unknown = chars.filter((char) => !model.ids.has(char));
    if (!chars.length || unknown.length) return problem(words.unknown.replace("{chars}", [...new Set(unknown)].join(" ")));
    const text = element("p", { className: "poem" }), likeliest = element("ol", { className: "likeliest" });
    const maps = element("div", { className: "maps", tabIndex: 0, role: "group", ariaLabel: words.maps });
    const rows = element("tbody"), table = element("div", { className: "wide" }, element("table", {}, rows));
    const every = element("details", {}, element("summary", {}, words.every), table);
    box.replaceChildren(text, element("p", {}, words.likeliest), likeliest, every, maps);
    text.append(element("span", { className: "prompt" }, chars.join("")));
    const random = randomNumbers(Number(form.elements.seed.value));
    const temperature = Number(form.elements.temperature.value);
    let logits = model.read(chars.map((char) => model.ids.get(char)));
    for (let n = Number(form.elements.characters.value); n > 0 && running === number; n--) {
      const probs = softmax(logits.map((v) => v / temperature));
      const id = draw(probs, random());
      const best = probs.map((p, i) => [p, i]).sort((a, b) => b[0] - a[0]).slice(0, 5);
      const cells = (tag) => best.map(([p, i]) =>
        element(tag, i === id ? { className: "chosen" } : {}, `${shown(model.chars[i])} ${(100 * p).toFixed(1)} %`));
      const show = () => likeliest.replaceChildren(...cells("li"));
      show();
      rows.append(element("tr", {}, element("th", { scope: "row" }, shown(model.chars[id])), ...cells("td")));
      chars.push(model.chars[id]);
      text.append(element("span", { title: `${(100 * probs[id]).toFixed(1)} %`, onclick: show }, model.chars[id]));
      const ids = chars.map((char) => model.ids.get(char));
      logits = model.position < model.block_size && model.version > 1 ? model.feed(id) : model.read(ids);
      await new Promise((resolve) => setTimeout(resolve)); // let the page show it
    }
    if (form.elements.maps.checked) maps.append(...attentionTable(model, chars, words));
    box.dataset.done = "true";
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const number = ++running, writers = [];
    stage.replaceChildren();
    for (const { value, labels } of form.querySelectorAll("input[name=version]:checked")) {
      const box = element("div", { className: "text" }, element("p", {}, words.loading));
      stage.append(element("section", { id: `writes-${value}` }, element("h2", {}, labels[0].textContent), box));
      writers.push(write(value, number, box));
    }
    status.textContent = writers.length ? "" : words.choose;
    if (writers.length) Promise.all(writers).then(() => number === running && (status.textContent = words.done));
  });
  form.querySelector("[type=button]").addEventListener("click", () => {
    running++;
    status.textContent = words.stopped;
  });
}

for (const form of document.querySelectorAll("form.play")) play(form);
