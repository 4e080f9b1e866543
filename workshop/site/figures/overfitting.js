// v10: with little text the two losses part; how far, and from where on, by dropout.
"use strict";

figures.overfitting = function (node, { words, runs, range }) {
  let run, chart;
  const place = kit.make("div"), says = kit.make("p", { role: "status" }), numbers = kit.make("div");
  const slider = kit.slide(words.handle, { min: 0, step: 1, value: 0 }, draw);
  const names = runs.map(({ dropout }) => String(dropout));
  node.append(kit.choose(words.which, names, 0, open), slider.node, place, says, numbers);
  open(0);

  function open(chosen) {
    run = runs[chosen];
    const { steps, train, val } = run;
    chart = kit.chart(words.title, {
      x: { values: steps, range: [0, steps.at(-1)], label: words.step },
      y: { range, label: words.loss }, room: 64, height: 260,
      lines: [
        { name: words.train, colour: "ink", dash: [5, 4], values: train },
        { name: words.val, colour: "accent", values: val },
      ],
    });
    place.replaceChildren(chart.node);
    slider.input.max = steps.length - 1;
    slider.input.value = steps.length - 1;
    numbers.replaceChildren(kit.numbers(words.numbers, [words.step, words.train, words.val],
      steps.map((step, i) => [String(step), train[i].toFixed(3), val[i].toFixed(3)])));
    draw();
  }

  function draw() {
    const { steps, train, val, seeds } = run, i = slider.value, low = val.indexOf(Math.min(...val));
    chart.mark(steps[i]);
    slider.say(String(steps[i]));
    says.textContent = kit.fill(words.says, {
      step: steps[i], train: train[i].toFixed(2), val: val[i].toFixed(2),
      gap: kit.fixed(val[i] - train[i], 2), low: val[low].toFixed(2), at: steps[low], seeds,
    });
  }
};
