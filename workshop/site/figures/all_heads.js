// v10: where every head of every block looks, each share written in its square.
"use strict";

figures.all_heads = function (node, { words, text, blocks }) {
  const chars = [...text].map(kit.visible), columns = `--columns: ${chars.length + 1}`;
  const rank = (first, ...rest) => kit.make("div", { class: "rank", style: columns }, kit.make("b", {}, first), ...rest);
  const percent = (share) => String(Math.round(100 * share));
  blocks.forEach((heads, block) => node.append(kit.make("div", { class: "maps" }, ...heads.map((rows, head) => {
    const squares = (row) => row.map((share) =>
      kit.make("span", { class: "cell", style: `--share: ${share}` }, percent(share)));
    const read = rows.map((row, i) =>
      `${chars[i]}: ${row.map((share, j) => `${chars[j]} ${percent(share)}`).join(words.comma)}`);
    return kit.make("section", {},
      kit.make("p", { class: "name" }, kit.fill(words.head, { block, head })),
      kit.make("div", { class: "map", role: "img", "aria-label": read.join("; ") },
        rank("", ...chars.map((char) => kit.make("b", {}, char))), ...rows.map((row, i) => rank(chars[i], ...squares(row)))));
  }))));
};
