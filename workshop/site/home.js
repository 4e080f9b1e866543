// The poem of the first page: a recorded one is written anew, and a button lets the model write.
"use strict";
{
  const node = document.getElementById("poem"), button = document.getElementById("another");
  const words = JSON.parse(button.dataset.words), recorded = node.textContent.trim();
  const summary = document.getElementById("summary");
  const poem = new Poem(node, summary, words);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  let running = 0; // how often something was begun: what was begun before stops

  async function replay() {
    const number = ++running;
    for (const char of `${recorded}\n`) {
      if (number !== running) return;
      poem.add(char, !poem.titled);
      if (!calm) await wait(70);
    }
  }

  button.addEventListener("click", async () => {
    const number = ++running, tunes = Object.keys(TUNES);
    const tune = tunes[Math.floor(Math.random() * tunes.length)];
    button.disabled = true;
    summary.textContent = words.loading;
    await wait(20); // let the page say so
    const model = await load("rhyme");
    button.disabled = false;
    if (!model) return (summary.textContent = fill(words.broken, "weights/rhyme.js"));
    button.textContent = button.textContent.replace(/ ?[(（].*/, ""); // there is nothing to load any more
    poem.clear();
    const seed = Math.floor(Math.random() * 2 ** 32), goesOn = () => number === running;
    await compose(model, poem, { begin: `${tune} 苏轼\n`, temperature: 0.8, seed, length: 120, goesOn });
  });

  replay();
}
