// v6 and v7: the signal on its way forward, the gradient on its way back, block by block.
"use strict";

figures.depth = function (node, { words, runs, range }) {
  let version = 2, when = "untrained";
  const lines = (what) => runs.map((run) => ({
    ...run, values: run[what], colour: run.version === 6 ? "ink" : "accent",
    dash: run.version === 6 ? [5, 4] : undefined, name: run.first ? `v${run.version}` : "",
  }));
  const show = (level) => (level ? kit.fill(words.block, { block: level }) : words.embedding);
  const levels = runs[0].spread.map((_, i) => i);
  const charts = ["spread", "gradient"].map((what) => kit.chart(words[what], {
    x: { values: levels, range: [-0.15, 3.15], ticks: levels, show, label: words[`${what}_way`] },
    y: { range: range[what], log: true, ticks: range[`${what}_ticks`], show: (v) => kit.power(v, true), label: words[what] },
    lines: lines(what), room: 32,
  }));
  const says = kit.make("p", { role: "status" }), numbers = kit.make("div");
  node.append(
    kit.choose(words.which, [words.without, words.with, words.both], 2, (i) => draw((version = i))),
    kit.choose(words.when, [words.untrained, words.trained], 0,
      (i) => draw((when = ["untrained", "trained"][i]))),
    kit.make("div", { class: "pair" }, ...charts.map((chart) => chart.node)), says, numbers);
  draw();

  function draw() {
    const wanted = [[6], [7], [6, 7]][version];
    const shown = (run) => run.when === when && wanted.includes(run.version);
    charts.forEach((chart) => chart.show(shown));
    const sentence = (run) => kit.fill(words.says, {
      version: run.version, seed: run.seed,
      spread: `${kit.power(run.spread[0])} → ${kit.power(run.spread.at(-1))}`,
      gradient: `${kit.power(run.gradient[0])} ← ${kit.power(run.gradient.at(-1))}`,
    });
    says.textContent = runs.filter((run) => shown(run) && run.first).map(sentence).join(" ");
    const cells = (run) => [`v${run.version}, ${run.seed}`,
      ...levels.map((i) => `${kit.power(run.spread[i])} / ${kit.power(run.gradient[i])}`)];
    const head = [words.run, ...levels.map(show)];
    const open = numbers.firstChild?.open ?? false;
    numbers.replaceChildren(kit.numbers(words.numbers, head, runs.filter(shown).map(cells)));
    numbers.firstChild.open = open;
  }
};
