// v5: one of the 512 sums at many places of the text, by which of two neighbours are there.
"use strict";

figures.hidden_unit = function (node, { words, units }) {
  let chosen = units[0];
  const tenths = (p) => `${(100 * p).toFixed(1)}%`, pair = ({ pair }) => [...pair].map(kit.visible);
  const relu = kit.check(words.relu, true, draw);
  const place = kit.make("div"), says = kit.make("p", { role: "status" }), numbers = kit.make("div");
  node.append(
    kit.choose(words.which, units.map((unit) => pair(unit).join("")), 0, (i) => draw((chosen = units[i]))),
    relu.node, place, says, numbers);
  draw();

  function draw() {
    const { unit, cases, next } = chosen, [a, b] = pair(chosen), [neither, first, second, both] = cases;
    const names = ["□□", `${a}□`, `□${b}`, `${a}${b}`], on = relu.on;
    const passed = (sum) => (on ? Math.max(0, sum) : sum);
    const rows = cases.map(({ n, fires, sum, passed: mean, sums }, i) => [
      kit.make("span", { lang: "zh-CN" }, names[i]), n.toLocaleString("en"),
      dots(sums, sums.map(passed), label(names[i], sums)),
      kit.fixed(on ? mean : sum, 2), kit.percent(on ? fires : 1),
    ]);
    place.replaceChildren(kit.table([words.case, words.places, words.sums, words.mean, words.fires], rows));
    const values = { unit, a, b, both: both.n, first: first.n, second: second.n, n: neither.n.toLocaleString("en"),
      fires: kit.percent(both.fires), alone: kit.percent(first.fires), other: kit.percent(second.fires),
      rest: kit.percent(neither.fires), sum: kit.fixed(neither.sum, 2), next: kit.visible(next[0]),
      p: tenths(next[1]), without: tenths(next[2]) };
    says.textContent = kit.fill(words[on ? "says_on" : "says_off"], values);
    numbers.replaceChildren(kit.numbers(words.numbers, [words.case, words.text, words.sum, words.after],
      cases.flatMap(({ texts, sums }, i) => texts.map((text, j) => [names[i],
        kit.make("span", { lang: "zh-CN" }, [...text].map(kit.visible).join("")),
        kit.fixed(sums[j], 2), kit.fixed(Math.max(0, sums[j]), 2)]))));
  }

  function label(pair, sums) {
    const [low, high] = [Math.min(...sums), Math.max(...sums)].map((sum) => kit.fixed(sum, 2));
    return kit.fill(words.dots, { pair, n: sums.length, low, high });
  }

  // What comes in is grey, what goes out in colour; in five rows, so that dots can be told apart
  function dots(sums, passed, label) {
    const all = chosen.cases.flatMap((found) => found.sums), low = Math.min(...all), high = Math.max(...all);
    const x = (sum) => (4 + (192 * (sum - low)) / (high - low)).toFixed(1);
    const row = (kind, numbers) => numbers.map((number, i) =>
      kit.svg("circle", { class: kind, cx: x(number), cy: 3 + 4.5 * (i % 5), r: 2 }));
    return kit.svg("svg", { class: "sums", viewBox: "0 0 200 24", role: "img", "aria-label": label },
      kit.svg("path", { d: `M${x(0)} 0V24` }), ...row("in", sums), ...row("out", passed));
  }
};
