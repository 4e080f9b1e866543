// Two models write from the same beginning; of each character, what else was likely, and where
// attention looked.
"use strict";
{
  const form = document.querySelector("form"), words = JSON.parse(form.dataset.words);
  const stage = document.getElementById("stage"), status = document.getElementById("status");
  const { prompt, tune, temperature, seed } = form.elements;
  let running = 0; // how often a button was pressed: what was begun before stops

  const visible = (char) => ({ "\n": "⏎", " ": "␣" })[char] ?? char;
  const percent = (p) => `${(100 * p).toFixed(1)} %`;
  const headName = (name) => {
    const [block, head] = name.match(/\d+/g)?.map((n) => Number(n) + 1) ?? [1];
    return head ? fill(words.head, block, head) : fill(words.head_one, block);
  };

  function section(name, title) {
    const made = document.querySelector("template").content.cloneNode(true).firstElementChild;
    made.id = `writes-${name}`;
    made.querySelector("h2").textContent = title;
    stage.append(made);
    return made;
  }

  // Of a written character: the five likeliest, and the shades of those that attention looked at
  function explorer(box, poem) {
    const written = new Map(), list = box.querySelector("ol"), heads = box.querySelector("select");
    let chosen = null;
    const choose = (span) => {
      if (!written.has(span)) return;
      chosen?.classList.remove("chosen");
      (chosen = span).classList.add("chosen");
      const { best } = written.get(span);
      list.replaceChildren(...best.map(([p, char]) => {
        const bar = element("span", { className: "share", style: `--share: ${p.toFixed(3)}` }, percent(p));
        return element("li", { className: char === span.dataset.char ? "drawn" : "" }, visible(char), " ", bar);
      }));
      shade();
    };
    const shade = () => {
      for (const span of poem.chars) span.style.removeProperty("--look");
      const { looks, at } = written.get(chosen) ?? {}, names = Object.keys(looks ?? {});
      const used = heads.value === "all" ? names : names.filter((name) => name === heads.value);
      for (const name of used) {
        looks[name].forEach((weight, i) => {
          const span = poem.chars[at - looks[name].length + i];
          const sum = Number(span.style.getPropertyValue("--look")) + weight / used.length;
          span.style.setProperty("--look", sum.toFixed(4));
        });
      }
    };
    const begin = (model) => {
      const names = Object.keys(model.looks.at(-1));
      const options = [["", words.head_none], ["all", words.head_all], ...names.map((n) => [n, headName(n)])];
      heads.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
      heads.closest("p").hidden = !names.length;
      box.querySelector(".likely").hidden = false;
    };
    heads.onchange = shade;
    poem.node.onclick = ({ target }) => choose(target);
    poem.node.onkeydown = (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (!step) return;
      event.preventDefault();
      const spans = [...written.keys()];
      choose(spans[Math.max(0, Math.min(spans.length - 1, spans.indexOf(chosen) + step))]);
    };
    const see = (model, span, probs, looks, at) => {
      if (!written.size) begin(model);
      const best = probs.map((p, i) => [p, model.chars[i]]).sort((a, b) => b[0] - a[0]).slice(0, 5);
      span.dataset.char = span.textContent.replace("⏎", "\n");
      written.set(span, { best, looks, at });
      choose(span);
    };
    return { see, first: () => choose(written.keys().next().value) };
  }

  async function write(name, title, number) {
    const box = section(name, title), error = box.querySelector(".error");
    const model = await load(name);
    if (!model) return (error.textContent = fill(words.broken, `weights/${name}.js`));
    const begin = prompt.value.replaceAll("\r", "");
    const unknown = [...new Set(begin)].filter((char) => !model.ids.has(char));
    if (unknown.length) return (error.textContent = fill(words.unknown, unknown.join(" ")));
    status.textContent = words.writing;
    const poem = new Poem(box.querySelector(".poem"), box.querySelector("[role=status]"), words);
    poem.node.setAttribute("aria-label", title);
    const { see, first } = explorer(box, poem);
    await compose(model, poem, {
      begin, temperature: Number(temperature.value), seed: Number(seed.value), length: 200,
      goesOn: () => number === running, see: (...seen) => see(model, ...seen),
    });
    first();
    if (poem.chars.length > model.block_size && model.keeps < model.block_size) {
      box.append(element("p", { className: "caption" }, fill(words.window, model.block_size, model.keeps)));
    }
    box.dataset.done = true;
  }

  async function writeAll() {
    const number = ++running, chosen = [...form.querySelectorAll("[name=model]")].filter((s) => s.value);
    const names = new Map(chosen.map((s) => [s.value, s.selectedOptions[0].textContent.split(" (")[0]]));
    stage.replaceChildren();
    status.textContent = words.loading;
    await new Promise((resolve) => setTimeout(resolve, 20)); // let the page say so
    await Promise.all([...names].map(([name, title]) => write(name, title, number)));
    if (number === running) status.textContent = words.done;
  }

  for (const name of Object.keys(TUNES)) tune.append(element("option", {}, name));
  const choose = () => (prompt.value = `${tune.value} 苏轼\n`);
  choose();
  tune.onchange = choose;
  temperature.oninput = () => (form.querySelector("output").value = temperature.value);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    writeAll();
  });
  form.querySelector("[type=button]").addEventListener("click", () => {
    running++;
    status.textContent = words.stopped;
  });
  const { saveData, type } = navigator.connection ?? {};
  if (!saveData && type !== "cellular") writeAll(); // it begins with a poem, where data is not dear
}
