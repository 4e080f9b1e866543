// BabyGPT once more, in another language: the forward pass of every version, without a framework.
// One position at a time, so a layer is a matrix times a vector. What a version has is read from
// the names of its weights; that v7 and later add to x and v6 does not, no name can say.
"use strict";

class BabyGPT {
  // saved: {version, block_size, n_head, chars, tensors: [[name, shape]...], data: base64 of float16}
  constructor(saved) {
    Object.assign(this, saved);
    this.chars = [...saved.chars];
    this.ids = new Map(this.chars.map((char, id) => [char, id]));
    this.weights = new Map();
    const numbers = halfFloats(saved.data);
    let begin = 0;
    for (const [name, shape] of saved.tensors) {
      const size = shape.reduce((a, b) => a * b, 1);
      this.weights.set(name, numbers.subarray(begin, (begin += size)));
    }
    if (begin !== numbers.length) throw new Error("weights: too few or too many numbers");
    const names = [...this.weights.keys()].join("\n");
    const layers = names.match(/^blocks\.\d+\./gm) ?? [""]; // before v6 one block without a name
    this.blocks = [...new Set(layers)].map((name) => ({
      name, sa: names.includes(`${name}sa.`), ffwd: names.includes(`${name}ffwd.`),
    }));
    this.rotary = !this.weights.has("position_embedding_table.weight"); // v14
  }

  // nn.Linear: each output is a row of the matrix times x, plus a bias if there is one
  linear(name, x) {
    const matrix = this.weights.get(`${name}.weight`), bias = this.weights.get(`${name}.bias`);
    return Float32Array.from({ length: matrix.length / x.length }, (_, row) => {
      let sum = bias ? bias[row] : 0;
      for (let i = 0, start = row * x.length; i < x.length; i++) sum += matrix[start + i] * x[i];
      return sum;
    });
  }

  // v9: mean 0 and variance 1 over the numbers of this position, then a learned scale and shift
  norm(name, x) {
    const scale = this.weights.get(`${name}.weight`), shift = this.weights.get(`${name}.bias`);
    if (!scale) return x;
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
    return x.map((v, i) => ((v - mean) / Math.sqrt(variance + 1e-5)) * scale[i] + shift[i]);
  }

  // v3: compare this query with all keys up to here, mix the values by how well they match
  head(name, query, key, value) {
    if (!this.cache.has(name)) this.cache.set(name, []);
    const past = this.cache.get(name);
    past.push([key, value]); // nothing later is there yet: no mask is needed
    const dot = (k) => k.reduce((sum, v, i) => sum + v * query[i], 0);
    const weights = softmax(past.map(([k]) => dot(k) / Math.sqrt(key.length)));
    this.looks[this.position][name] = weights;
    const mix = new Float32Array(value.length);
    past.forEach(([, v], j) => v.forEach((number, i) => (mix[i] += weights[j] * number)));
    return mix;
  }

  // v14: number i of the first half and number i of the second are a point, turned by an angle
  rotate(x) {
    const half = x.length / 2;
    return x.map((v, n) => {
      const i = n % half, angle = this.position * 1000 ** (-i / half);
      return v * Math.cos(angle) + (n < half ? -x[half + i] : x[i]) * Math.sin(angle);
    });
  }

  // v4: several heads, what they return side by side
  heads(sa, x) {
    const one = this.weights.has(`${sa}.key.weight`); // v3
    const fused = this.weights.has(`${sa}.qkv.weight`) && this.linear(`${sa}.qkv`, x); // v13
    const n = one ? 1 : this.n_head, size = x.length / n, y = new Float32Array(x.length);
    for (let h = 0; h < n; h++) {
      const name = one ? sa : `${sa}.heads.${h}`;
      let [query, key, value] = ["query", "key", "value"].map((part, i) =>
        fused ? fused.slice((i * n + h) * size).slice(0, size) : this.linear(`${name}.${part}`, x));
      if (this.rotary) [query, key] = [this.rotate(query), this.rotate(key)];
      y.set(this.head(name, query, key, value), h * size);
    }
    return this.weights.has(`${sa}.proj.weight`) ? this.linear(`${sa}.proj`, y) : y; // v8
  }

  // Take in the next character, by its id; return the logits of what may follow it
  feed(id) {
    const table = this.weights.get("token_embedding_table.weight");
    const positions = this.weights.get("position_embedding_table.weight");
    const size = table.length / this.chars.length, start = this.position * size;
    let x = table.slice(id * size, (id + 1) * size);
    if (positions) x = x.map((v, i) => v + positions[start + i]); // v2
    const join = (y) => (this.version >= 7 ? x.map((v, i) => v + y[i]) : y); // v7: added
    this.looks.push({});
    for (const { name, sa, ffwd } of this.blocks) {
      if (sa) x = join(this.heads(`${name}sa`, this.norm(`${name}ln1`, x)));
      if (!ffwd) continue; // v5
      const inner = this.linear(`${name}ffwd.net.0`, this.norm(`${name}ln2`, x));
      x = join(this.linear(`${name}ffwd.net.2`, inner.map((v) => Math.max(0, v)))); // ReLU
    }
    this.position++;
    return this.linear("lm_head", this.norm("ln_final", x));
  }

  // Take in a whole text; of more than block_size characters, only the last ones are seen (v2)
  read(ids, last = this.block_size) {
    this.position = 0;
    this.cache = new Map(); // of each head: the keys and values of the positions so far (v15)
    this.looks = []; // of each position: {head: its weights over the positions up to it}
    let logits;
    for (const id of ids.slice(this.version === 1 ? -1 : -last)) logits = this.feed(id);
    return logits;
  }

  // Take in the last character of a text of which the others were read. When the window is full, a
  // short one is read anew each time, as the scripts do; of a long one the last half, now and then
  get keeps() {
    return this.block_size > 16 ? this.block_size / 2 : this.block_size;
  }
  next(ids) {
    const isFull = this.position === this.block_size;
    return isFull ? this.read(ids, this.keeps) : this.feed(ids.at(-1));
  }
}

function softmax(scores) {
  const top = Math.max(...scores), powers = Array.from(scores, (s) => Math.exp(s - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

// Draw an id by its probability: the first at which the probabilities add up to more than chance
function draw(probs, chance) {
  let sum = 0;
  for (let id = 0; id < probs.length; id++) if ((sum += probs[id]) > chance) return id;
  return probs.length - 1;
}

// Random numbers from 0 to 1, the same for the same seed (mulberry32, by Tommy Ettinger)
function randomNumbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) >>> 0;
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// base64 of 16-bit floats (1 bit for the sign, 5 for the exponent, 10 for the fraction) as numbers
function halfFloats(base64) {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  return Float32Array.from({ length: bytes.length / 2 }, (_, i) => {
    const half = bytes[2 * i] | (bytes[2 * i + 1] << 8);
    const exponent = (half >> 10) & 31, fraction = half & 1023, sign = half >> 15 ? -1 : 1;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
  });
}
