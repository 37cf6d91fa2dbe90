// From the page's blocks (base64, deflated) back to numbers: the other half of packing.py and mesh_blocks.py.
"use strict";

function blockBytes(name) {
  const element = document.getElementById("block-" + name);
  const text = element.textContent;
  element.remove();                     // the text of a long run would take as much memory again
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function inflated(name) {
  const stream = new Blob([blockBytes(name)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// `frames` frames of rows of `width` numbers, summed up along the row, then over the frames. Odd numbers are those below zero. Bytes of 16
// bits: all lower ones, then all upper ones.
function summed(bytes, start, frames, rows, width, sums) {
  const wide = sums.BYTES_PER_ELEMENT === 2, size = rows * width;
  for (let i = 0; i < sums.length; i++) {
    const folded = wide ? bytes[start + i] | (bytes[start + sums.length + i] << 8) : bytes[start + i];
    const change = folded & 1 ? ~(folded >> 1) : folded >> 1;
    sums[i] = i % width === 0 ? change : change + sums[i - 1];
  }
  for (let i = size; i < frames * size; i++) sums[i] += sums[i - size];
  return sums;
}

// One reference surface, followed. Blocks are unpacked when they are asked for, and kept.
class MeshSequence {
  constructor(told) {
    this.told = told;
    this.blocks = new Map();
    this.rest = null;
  }

  // { triangles, rgb }: rgb is null for a surface without colours
  topology() {
    this.rest ??= inflated(this.told.name + "-rest").then(bytes => {
      const end = 12 * this.told.triangles;
      return { triangles: new Uint32Array(bytes.buffer, 0, 3 * this.told.triangles), rgb: this.told.colored ? bytes.subarray(end) : null };
    });
    return this.rest;
  }

  block(number) {
    if (!this.blocks.has(number)) this.blocks.set(number, this.unpack(number));
    return this.blocks.get(number);
  }

  async unpack(number) {
    const bytes = await inflated(`${this.told.name}-${number}`), { vertices, frames_a_block, frames, fields } = this.told;
    const count = Math.min(frames_a_block, frames.length - number * frames_a_block);
    const size = count * vertices, positions = summed(bytes, 0, count, 3, vertices, new Uint16Array(3 * size));
    const planes = ["visible", ...fields].map((_, i) => summed(bytes, size * (6 + i), count, 1, vertices, new Uint8Array(size)));
    return { positions, visible: planes[0], fields: planes.slice(1) };
  }

  // Of the index-th frame kept: vertices (3V, metres), visible (V), fields (each V, in 255ths of its scale)
  async frame(index) {
    const size = this.told.frames_a_block, number = Math.floor(index / size), block = await this.block(number);
    const count = this.told.vertices, at = (index - number * size) * count, { low, step } = this.told;
    const vertices = new Float32Array(3 * count);
    for (let axis = 0; axis < 3; axis++) {
      for (let i = 0, from = 3 * at + axis * count; i < count; i++) vertices[3 * i + axis] = low[axis] + step * block.positions[from + i];
    }
    return { vertices, visible: block.visible.subarray(at, at + count), fields: block.fields.map(all => all.subarray(at, at + count)) };
  }

  // What comes next, ahead of its being asked for.
  prepare(index) {
    const next = Math.floor(index / this.told.frames_a_block) + 1;
    if (next * this.told.frames_a_block < this.told.frames.length) this.block(next);
  }
}
