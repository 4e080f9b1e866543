// v3: one query against every key: product, scale, mask, weights, mix. The example can be edited.
"use strict";

figures.one_query = function (node, { words, sources }) {
  let source, at, cells;
  const names = sources.map(({ head }) => (head === null ? words.example : kit.fill(words.head, { head })));
  const scaled = kit.check(words.scale, true, update), masked = kit.check(words.mask, true, update);
  const place = kit.make("div"), says = kit.make("p", { role: "status" });
  const from = kit.choose(words.from, names, 0, take);
  const reset = kit.make("button", { type: "button", onclick: () => take(0) }, words.reset);
  node.append(from, place, says);
  take(0);

  function take(i) {
    source = structuredClone(sources[i]);
    reset.hidden = source.head !== null;
    const last = source.chars.length - 1;
    const positions = kit.choose(words.position, source.chars, last, (i) => build(i));
    const table = kit.wide(words.table);
    const checks = kit.make("div", { class: "checks" }, scaled.node, masked.node, reset);
    place.replaceChildren(positions, checks, table);
    build(last);
  }

  // Numbers to be edited, or, where they are too many, a strip of colours
  function numbers(row, label) {
    if (source.head !== null) return kit.strip(row, source.top, label);
    const input = kit.make("input", { type: "text", value: row.join(" "), "aria-label": label, oninput: () => {
      const read = input.value.trim().split(/[\s,，]+/).map((text) => Number(text.replace("−", "-")));
      const good = read.length === row.length && read.every(Number.isFinite);
      input.setAttribute("aria-invalid", !good);
      if (good) row.splice(0, row.length, ...read), update();
    } });
    return input;
  }

  function build(position) {
    at = position;
    const about = (text, j) => kit.fill(text, { char: source.chars[j] });
    cells = source.chars.map(() => ["dot", "score", "weight"].map(() => kit.make("span")));
    const rows = source.chars.map((char, j) => [
      char, numbers(source.key[j], about(words.key_of, j)), ...cells[j],
      source.head === null ? `(${source.value[j].join(", ")})`
        : kit.strip(source.value[j], source.top_value, about(words.value_of, j)),
    ]);
    const query = kit.make("p", { class: "query" },
      kit.make("span", {}, about(words.query, at)), numbers(source.query[at], about(words.query, at)));
    const head = ["", words.key, words.dot, words.score, words.weight, words.value];
    place.lastChild.replaceChildren(query, kit.table(head, rows));
    update();
  }

  function update() {
    const { chars, key, value, query } = source, size = query[at].length;
    const hidden = (j) => masked.on && j > at, dots = key.map((k) => kit.dot(k, query[at]));
    const scores = dots.map((dot) => (scaled.on ? dot / Math.sqrt(size) : dot));
    const weights = kit.softmax(scores.map((score, j) => (hidden(j) ? -Infinity : score)));
    const mix = value[0].map((_, c) => kit.sum(weights.map((weight, j) => weight * value[j][c])));
    cells.forEach(([dot, score, weight], j) => {
      dot.textContent = kit.fixed(dots[j], 2);
      score.textContent = hidden(j) ? "−∞" : kit.fixed(scores[j], 2);
      weight.replaceChildren(kit.bar(weights[j], kit.percent(weights[j])));
      weight.closest("tr")?.classList.toggle("hidden-by-mask", hidden(j));
    });
    const parts = weights.map((weight, j) => [weight, chars[j]]).filter(([weight]) => weight >= 0.005)
      .sort((a, b) => b[0] - a[0]).map(([weight, char]) => kit.fill(words.part, { char, share: kit.percent(weight) }));
    const made = source.head === null ? `(${mix.map((number) => kit.fixed(number, 2)).join(", ")})`
      : kit.strip(mix, source.top_value, words.mix_of);
    says.replaceChildren(
      `${kit.fill(words.mix, { char: chars[at], parts: parts.join(words.comma) })} `, made);
  }
};
