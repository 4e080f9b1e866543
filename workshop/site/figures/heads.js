// v4: where each of the four heads of the trained model looks, in one line of a poem.
"use strict";

figures.heads = function (node, { words, lines, own, before }) {
  let line = lines[0], at = line.text.length - 2;
  const place = kit.make("div", { class: "maps" }), row = kit.make("div");
  const texts = lines.map(({ text }) => [...text].map(kit.visible).join(""));
  const poem = kit.choose(words.line, texts, 0, (i) => {
    line = lines[i];
    open();
  });
  const about = { own: own.head, own_share: kit.percent(own.share),
    before: before.head, before_share: kit.percent(before.share) };
  node.append(poem, row, place, kit.make("p", {}, kit.fill(words.two, about)));
  open();

  function open() {
    const chars = [...line.text].map(kit.visible);
    row.replaceChildren(kit.choose(words.position, chars, at, (i) => draw(i)));
    draw(at);
  }

  function draw(position) {
    at = position;
    const chars = [...line.text].map(kit.visible);
    place.replaceChildren(...line.heads.map((weights, head) => {
      const cell = (weight, j, i) => kit.make("span", { class: "cell", style: `--share: ${weight}` },
        i === at && weight >= 0.005 ? String(Math.round(100 * weight)) : "");
      const rows = weights.map((seen, i) => kit.make("div", { class: i === at ? "rank looking" : "rank" },
        kit.make("b", {}, chars[i]), ...seen.map((weight, j) => cell(weight, j, i))));
      const best = weights[at].map((weight, j) => [weight, j]).sort((a, b) => b[0] - a[0]).slice(0, 2)
        .filter(([weight]) => weight >= 0.05).map(([weight, j]) => `${chars[j]} ${Math.round(100 * weight)}%`);
      const looks = kit.fill(words.looks, { char: chars[at], best: best.join(words.comma) });
      const top = kit.make("div", { class: "rank" }, kit.make("b"), ...chars.map((c) => kit.make("b", {}, c)));
      const name = kit.fill(words.head, { head });
      const title = head === own.head ? words.is_own : head === before.head ? words.is_before : "";
      return kit.make("section", { "aria-label": name },
        kit.make("p", { class: "name" }, name, kit.make("small", {}, title)),
        kit.make("div", { class: "map", "aria-hidden": "true" }, top, ...rows),
        kit.make("p", {}, looks));
    }));
  }
};
