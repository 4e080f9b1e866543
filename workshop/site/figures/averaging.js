// Before v3: the scores of the page's example, taken from nothing to all; the average becomes a mix.
"use strict";

figures.averaging = function (node, { words, chars, x, scores }) {
  const slider = kit.slide(words.slider, { min: 0, max: 2, step: 0.05, value: 0 }, draw);
  const says = kit.make("p", { role: "status" }), place = kit.make("div");
  node.append(slider.node, says, place);
  draw();

  function draw() {
    const times = slider.value, rows = chars.map((char, i) => {
      const weights = kit.softmax(scores[i].slice(0, i + 1).map((score) => times * score));
      const mix = x[0].map((_, c) => kit.sum(weights.map((weight, j) => weight * x[j][c])));
      const cells = chars.map((_, j) => (j > i ? "" : kit.bar(weights[j], kit.percent(weights[j]))));
      return [char, ...cells, `(${mix.map((number) => number.toFixed(2)).join(", ")})`];
    });
    slider.say(`× ${times.toFixed(2)}`);
    says.textContent = words[times === 0 ? "none" : times < 1 ? "some" : times === 1 ? "all" : "more"];
    place.replaceChildren(kit.table(["", ...chars, words.result], rows));
  }
};
