// v18: one distribution by temperature and top-k; beside it what was measured, and a poem.
"use strict";

figures.temperature = function (node, { words, beginnings, width, temperatures, top_ks, measured, real }) {
  let chosen = 1, k = top_ks.at(-1);
  const usual = temperatures.indexOf(1), last = temperatures.length - 1, shown = Object.keys(real);
  const slider = kit.slide(words.temperature, { min: 0, max: last, step: 1, value: usual }, draw);
  const list = kit.make("div"), poem = kit.make("div"), table = kit.make("div"), says = kit.make("p", { role: "status" });
  const of = (t, k) => measured[`${t} ${k}`], percent = (t) => kit.percent(t);
  const colours = { whole: ["accent"], distinct: ["ink", [6, 4]], rhyme: ["good", [2, 3]], pairs: ["muted"] };
  const chart = kit.chart(words.title, {
    x: { values: temperatures, range: [-0.05, 1.25], label: words.temperature, ticks: [0, 0.5, 1] },
    y: { range: [0, 1.03], label: words.share, ticks: [0, 0.25, 0.5, 0.75, 1], show: percent },
    lines: shown.map((name) => ({ name: words[name], colour: colours[name][0], dash: colours[name][1],
      values: temperatures.map((t) => of(t, 0)?.[name] ?? null) })), room: 76, height: 240,
  });
  const setting = (t, n) => `${t}, ${n === "0" ? words.all : n}`;
  const label = ({ text }) => text.trimEnd().split("\n").at(-1) + (text.endsWith("\n") ? kit.visible("\n") : "");
  node.append(
    kit.choose(words.after, beginnings.map(label), chosen, (i) => draw((chosen = i))), slider.node,
    kit.choose(words.top_k, top_ks.map((n) => n || words.all), top_ks.indexOf(k), (i) => draw((k = top_ks[i]))),
    says, kit.make("div", { class: "pair" }, list, kit.make("div", {}, poem, table)), chart.node,
    kit.numbers(words.numbers, [words.setting, ...shown.map((name) => words[name])],
      Object.entries(measured).map(([name, found]) => [setting(...name.split(" ")), ...shown.map((n) => percent(found[n]))])));
  draw();

  // The largest logits are known one by one, of the others how many are in each range
  function probabilities(t) {
    const { logits, others } = beginnings[chosen], top = logits[0], by = Math.max(t, 1e-6);
    const powers = logits.map((v, i) => (k && i >= k ? 0 : Math.exp((v - top) / by)));
    const rest = others.map(([i, n]) => (k ? 0 : n * Math.exp(((i + 0.5) * width - top) / by)));
    const sum = kit.sum(powers) + kit.sum(rest);
    return powers.map((power) => power / sum);
  }

  function draw() {
    const t = temperatures[slider.value], { chars, others } = beginnings[chosen], found = of(t, k);
    const probs = probabilities(t), ten = probs.slice(0, chars.length), rest = 1 - kit.sum(ten);
    const n = (k || probs.length + kit.sum(others.map(([, n]) => n))) - ten.length;
    slider.say(String(t));
    list.replaceChildren(
      kit.make("p", { class: "name" }, words.next),
      kit.make("ol", {}, ...[...chars].map((char, i) => kit.make("li", { class: ten[i] ? "" : "cut" },
        kit.make("b", { lang: "zh-CN" }, kit.visible(char)), kit.bar(ten[i], percent(ten[i]))))),
      kit.make("p", {}, kit.bar(Math.max(0, rest), kit.fill(words.others, { n: Math.max(0, n).toLocaleString("en"), p: percent(rest) }))));
    const half = 1 + probs.findIndex((_, i) => kit.sum(probs.slice(0, i + 1)) >= 0.5);
    says.textContent = kit.fill(words[half === 1 ? "one" : half ? "half" : "many"], { half });
    poem.replaceChildren(...(found ? [kit.poem(found.poem.tune, found.poem.body, words.extra, (i) => {
      const [wanted, right, rhymes] = found.poem.marks[i];
      return { wanted, right, rhymes };
    })] : [kit.make("p", { class: "muted" }, words.unmeasured)]));
    const row = (name) => [words[name], found ? percent(found[name]) : "", percent(real[name])];
    table.replaceChildren(kit.table(["", words.here, words.real], shown.map(row)));
    chart.mark(k ? null : t);
  }
};
