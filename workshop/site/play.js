// Models write side by side, and show for each character what else was likely and where they looked.
const form = document.querySelector("form"), words = JSON.parse(form.dataset.words);
const stage = document.getElementById("stage"), status = document.getElementById("status");
const models = new Map();
let running = 0; // how often a button was pressed: what was begun before stops

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Each file in weights/ calls this: from disk, browsers refuse fetch(), but not a classic script
const loaded = (name, saved) => models.set(name, new BabyGPT(saved));

const load = (name) => new Promise((resolve) => {
  const done = () => resolve(models.get(name));
  if (models.has(name)) return done();
  document.head.append(element("script", { src: `../weights/${name}.js`, onload: done, onerror: done }));
});

const visible = (char) => ({ "\n": "⏎", " ": "␣" })[char] ?? char;
const percent = (p) => `${(100 * p).toFixed(1)} %`;

// Show for one character that was written the likeliest ones, and of each head how much it looked
// at each character before
function explain(box, { char, best, seen, looks }) {
  box.querySelector("ol").replaceChildren(...best.map(([p, other]) =>
    element("li", { className: other === char ? "chosen" : "" }, `${visible(other)} ${percent(p)}`)));
  const cell = (weight) =>
    element("td", { title: percent(weight), style: `--weight: ${Math.sqrt(weight).toFixed(3)}` });
  const heads = Object.entries(looks).map(([name, weights]) =>
    element("tr", {}, element("th", { scope: "row" }, name), ...weights.map(cell)));
  const top = seen.map((other) => element("th", { scope: "col" }, visible(other)));
  box.querySelector("table").replaceChildren(element("tr", {}, element("td"), ...top), ...heads);
  box.querySelector(".looks").hidden = !heads.length;
}

async function write(name, number, section) {
  const model = await load(name), error = section.querySelector(".error");
  if (!model) return (error.textContent = words.broken.replace("{}", `weights/${name}.js`));
  const chars = [...form.elements.prompt.value.replaceAll("\\n", "\n")];
  const unknown = [...new Set(chars.filter((char) => !model.ids.has(char)))];
  if (unknown.length) return (error.textContent = words.unknown.replace("{}", unknown.join(" ")));
  error.remove();
  const box = section.querySelector(".text"), poem = box.querySelector(".poem");
  const slider = box.querySelector("input"), written = [];
  box.hidden = false;
  poem.append(element("b", {}, chars.join("")));
  const choose = (n) => {
    if (!written[n]) return;
    poem.querySelector(".chosen")?.classList.remove("chosen");
    poem.children[n + 1].classList.add("chosen");
    slider.value = n;
    explain(box, written[n]);
  };
  slider.oninput = () => choose(Number(slider.value));
  poem.onclick = (event) => choose([...poem.children].indexOf(event.target) - 1);
  const [seed, temperature, length] = ["seed", "temperature", "characters"].map((name) =>
    Number(form.elements[name].value));
  const random = randomNumbers(seed);
  let logits = model.read(chars.map((char) => model.ids.get(char)));
  for (let n = 0; n < length && running === number; n++) {
    const probs = softmax(logits.map((v) => v / temperature)), id = draw(probs, random());
    const best = probs.map((p, i) => [p, model.chars[i]]).sort((a, b) => b[0] - a[0]).slice(0, 5);
    const seen = chars.slice(-model.looks.length), char = model.chars[id];
    written.push({ char, best, seen, looks: model.looks.at(-1) });
    chars.push(char);
    poem.append(element("span", {}, char));
    slider.max = n;
    choose(n);
    const full = model.position === model.block_size || model.version === 1;
    logits = full ? model.read(chars.map((c) => model.ids.get(c))) : model.feed(id);
    await new Promise((resolve) => setTimeout(resolve)); // let the page show it
  }
  section.dataset.done = true;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const number = ++running, chosen = [...form.querySelectorAll("input[name=model]:checked")];
  stage.replaceChildren();
  status.textContent = chosen.length ? words.loading : words.choose;
  await Promise.all(chosen.map(({ value, labels }) => {
    const title = element("h2", {}, labels[0].textContent.trim());
    const parts = document.querySelector("template").content.cloneNode(true);
    const section = element("section", { id: `writes-${value}` }, title, parts);
    stage.append(section);
    return write(value, number, section);
  }));
  if (chosen.length && number === running) status.textContent = words.done;
});

form.querySelector("[type=button]").addEventListener("click", () => {
  running++;
  status.textContent = words.stopped;
});
