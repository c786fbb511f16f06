"use strict";
// Undoes what viewer/packing.py does.

function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function inflated(id, format) {
  const element = document.getElementById(id);
  const stream = new Blob([bytesOf(element.textContent.trim())]).stream()
    .pipeThrough(new DecompressionStream(format));
  element.remove();
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** HU [z][y][x] as Int16Array, from differences to the mean of three neighbours. */
function decodeCt(codes, [nx, ny, nz], table) {
  const hu = new Int16Array(codes.length);
  const row = nx, slice = nx * ny;
  for (let z = 0, i = 0; z < nz; z++)
    for (let y = 0; y < ny; y++)
      for (let x = 0; x < nx; x++, i++) {
        if (x && y && z)
          codes[i] += ((codes[i - 1] + codes[i - row] + codes[i - slice]) / 3) | 0;
        hu[i] = table[codes[i]];
      }
  return hu;
}

/** For every label: its voxels, their box, and one of them near their middle. */
function extentsOf(labels, [nx, ny, nz]) {
  const found = new Map();
  for (let z = 0, i = 0; z < nz; z++)
    for (let y = 0; y < ny; y++)
      for (let x = 0; x < nx; x++, i++) {
        const label = labels[i];
        if (!label) continue;
        let one = found.get(label);
        if (!one) found.set(label, one = { count: 0, sum: [0, 0, 0], low: [x, y, z], high: [x, y, z] });
        one.count++;
        one.sum[0] += x; one.sum[1] += y; one.sum[2] += z;
        one.low[0] = Math.min(one.low[0], x); one.high[0] = Math.max(one.high[0], x);
        one.low[1] = Math.min(one.low[1], y); one.high[1] = Math.max(one.high[1], y);
        one.high[2] = z;
      }
  return found;
}

/** The voxel of a label that is nearest to the middle of its voxels. */
function middleOf(labels, [nx, ny], label, { count, sum, low, high }) {
  const [mx, my, mz] = sum.map((total) => total / count);
  let best = null, least = Infinity;
  for (let z = low[2]; z <= high[2]; z++)
    for (let y = low[1]; y <= high[1]; y++)
      for (let x = low[0]; x <= high[0]; x++) {
        if (labels[(z * ny + y) * nx + x] !== label) continue;
        const far = (x - mx) ** 2 + (y - my) ** 2 + (z - mz) ** 2;
        if (far < least) { least = far; best = [x, y, z]; }
      }
  return best;
}
