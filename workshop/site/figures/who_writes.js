// v8: into which numbers of the residual stream each head writes, without and with the projection.
"use strict";

figures.who_writes = function (node, { words, blocks }) {
  let block = 0, way = "before";
  const place = kit.make("div", { class: "writes" }), says = kit.make("p", { role: "status" });
  const names = blocks.map((_, i) => kit.fill(words.block, { block: i + 1 }));
  node.append(
    kit.choose(words.which, [words.without, words.with], 0, (i) => draw((way = ["before", "after"][i]))),
    kit.choose(words.where, names, 0, (i) => draw((block = i))), place, says);
  draw();

  function draw() {
    const heads = blocks[block][way], top = Math.max(...heads.flat()), size = heads[0].length / heads.length;
    const quarters = (numbers) => heads.map((_, i) =>
      kit.sum(numbers.slice(i * size, (i + 1) * size)) / kit.sum(numbers));
    const rows = heads.map((numbers, head) => {
      const name = kit.fill(words.head, { head });
      return [name, kit.strip(numbers, top, kit.fill(words.strip, { head })), ...quarters(numbers).map(kit.percent)];
    });
    const part = (i) => `${i * size}–${(i + 1) * size - 1}`;
    place.replaceChildren(...rows.map(([name, strip]) => kit.make("div", { class: "rank" }, kit.make("b", {}, name), strip)),
      kit.make("div", { class: "rank scale", "aria-hidden": "true" }, kit.make("b"),
        kit.make("span", {}, ...heads.map((_, i) => kit.make("i", {}, String(i * size))))),
      kit.table([words.share, ...heads.map((_, i) => part(i))], rows.map(([name, , ...cells]) => [name, ...cells])));
    says.textContent = words[`says_${way}`];
  }
};
