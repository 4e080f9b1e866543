// v19: a poem and four numbers at each evaluation of a run that learned from a reward.
"use strict";

figures.reward = function (node, { words, runs }) {
  let run = runs[0];
  const usual = (name, other) => (name in words ? words[name] : other);
  const slider = kit.slide(words.step, { min: 0, step: 1, value: 0 }, draw);
  const about = kit.make("p"), poem = kit.make("div"), charts = kit.make("div", { class: "pair" });
  const says = kit.make("p", { role: "status" }), numbers = kit.make("div");
  node.append(kit.choose(words.which, runs.map(({ name }) => usual(`run_${name}`, name)), 0, (i) => open(runs[i])),
    about, slider.node, says, kit.make("div", { class: "pair" }, poem, charts), numbers);
  open(run);

  function open(chosen) {
    const i = slider.value, kept = i && i === run.steps.length - 1 ? Infinity : i; // the end stays the end
    run = chosen;
    const { steps, curves } = run, names = Object.keys(curves);
    const all = (name) => runs.flatMap((other) => other.curves[name]);
    const x = { values: steps, range: [0, Math.max(...runs.flatMap((other) => other.steps))], label: words.step };
    run.charts = [
      kit.chart(words.title, { x, y: { range: [0, 1.05], label: words.values }, room: 70, height: 190, lines: [
        { name: words.whole, colour: "accent", values: curves.whole },
        { name: words.rhyme, colour: "good", dash: [2, 3], values: curves.rhyme },
        { name: words.distinct, colour: "ink", dash: [6, 4], values: curves.distinct },
      ] }),
      ...["reward", "val_loss"].map((name) => {
        const room = name === "reward" ? 1 : 0.1, range = [Math.min(...all(name)) - room, Math.max(...all(name)) + room];
        return kit.chart(words[name], { x, y: { range, label: words[name] }, room: 70, height: 150,
          lines: [{ colour: "ink", values: curves[name] }] });
      }),
    ];
    charts.replaceChildren(kit.make("div", {}, ...run.charts.map((chart) => chart.node)));
    numbers.replaceChildren(kit.numbers(words.numbers, [words.step, ...names.map((name) => usual(name, name))],
      steps.map((step, i) => [String(step), ...names.map((name) => kit.fixed(curves[name][i], 3))])));
    about.textContent = usual(`about_${run.name}`, "");
    slider.input.max = steps.length - 1;
    slider.input.value = Math.min(kept, steps.length - 1);
    draw();
  }

  function draw() {
    const i = slider.value, { steps, curves, poems, charts } = run, { title, body, marks } = poems[i];
    slider.say(String(steps[i]));
    for (const chart of charts) chart.mark(steps[i]);
    poem.replaceChildren(kit.poem(title, body, words.extra, (line) => {
      const [wanted, right, rhymes] = marks[line];
      return { wanted, right, rhymes };
    }));
    const asked = marks.filter(([, , rhymes]) => rhymes !== null), right = (found) => found.filter(Boolean).length;
    const shown = Object.entries(curves).map(([name, values]) => [name, kit.fixed(values[i], 2)]);
    says.textContent = kit.fill(words.says, { step: steps[i], ...Object.fromEntries(shown), lines: marks.length,
      fit: right(marks.map(([, fits]) => fits)), asked: asked.length, rhymed: right(asked.map(([, , rhymes]) => rhymes)) });
  }
};
