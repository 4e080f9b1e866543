// v14: two positions as hands of clocks, and what one query and one key score by their distance.
"use strict";

figures.clock = function (node, { words, speeds, planes, heads, chars, query, key }) {
  let head = 1, pair = [0, 2];
  const first = kit.slide(words.first, { min: 0, max: 64, step: 1, value: 12 }, draw);
  const apart = kit.slide(words.apart, { min: 0, max: 63, step: 1, value: 6 }, draw);
  const clocks = kit.make("div", { class: "clocks" }), says = kit.make("p", { role: "status" });
  const place = kit.make("div"), distances = Array.from({ length: 64 }, (_, i) => i);
  const seen = [...chars].map(kit.visible);
  let chart;
  node.append(first.node, apart.node, clocks,
    kit.choose(words.head, heads, head, (i) => open((head = i))),
    kit.choose(words.query, seen, pair[0], (i) => open((pair[0] = i))),
    kit.choose(words.key, seen, pair[1], (i) => open((pair[1] = i))), place, says);
  open();

  // Number i of the first half and number i of the second are a point: turned by position * speed
  function score(distance) {
    const q = query[head][pair[0]], k = key[head][pair[1]], half = speeds.length;
    const turned = speeds.map((speed, i) => {
      const cos = Math.cos(distance * speed), sin = Math.sin(distance * speed);
      const [a, b] = [q[i] * cos - q[half + i] * sin, q[i] * sin + q[half + i] * cos];
      return a * k[i] + b * k[half + i];
    });
    return kit.sum(turned) / Math.sqrt(2 * half);
  }

  function open() {
    const scores = distances.map(score), edge = 2 * Math.ceil(Math.max(...scores.map(Math.abs), 1) / 2);
    chart = kit.chart(words.title, {
      x: { values: distances, range: [0, 63], label: words.distance, ticks: [0, 8, 16, 24, 32, 40, 48, 56] },
      y: { range: [-edge, edge], label: words.score, show: (v) => kit.fixed(v, 0) }, room: 12, height: 200,
      lines: [{ colour: "accent", values: scores, plain: true }],
    });
    place.replaceChildren(chart.node, kit.numbers(words.numbers, [words.distance, words.score],
      distances.map((distance) => [String(distance), kit.fixed(scores[distance], 2)])));
    draw();
  }

  function draw() {
    const j = first.value, distance = apart.value, i = j + distance;
    first.say(String(j));
    apart.say(String(distance));
    clocks.replaceChildren(...planes.map((plane) => {
      const hand = (position, kind) => {
        const turn = position * speeds[plane];
        return kit.svg("line", { class: kind, x2: 42 * Math.sin(turn), y2: -42 * Math.cos(turn) });
      };
      const label = kit.fill(words.clock, { plane, angle: (distance * speeds[plane]).toFixed(2) });
      return kit.make("figure", {}, kit.svg("svg", { viewBox: "-50 -50 100 100", role: "img", "aria-label": label },
        kit.svg("circle", { r: 48 }), hand(j, "of-key"), hand(i, "of-query")), kit.make("figcaption", {}, label));
    }));
    chart.mark(distance);
    says.textContent = kit.fill(words.says, { i, j, distance, score: kit.fixed(score(distance), 2) });
  }
};
