// The surface of a label: the mask, smoothed, and a vertex in every cell that it cuts.

const SURFACE_MM = 2;       // large organs are drawn no finer
const SMALL_VOXELS = 20000; // smaller ones are drawn as fine as the copy
const PAD = 2;

function fieldOf(labels, shape, label, extent, steps) {
  const { low, high } = extent;
  const size = low.map((from, axis) => Math.ceil((high[axis] - from + 1) / steps[axis]) + 2 * PAD);
  const field = new Float32Array(size[0] * size[1] * size[2]);
  const share = 1 / (steps[0] * steps[1] * steps[2]);
  for (let z = low[2]; z <= high[2]; z++) {
    const gz = ((z - low[2]) / steps[2] | 0) + PAD;
    for (let y = low[1]; y <= high[1]; y++) {
      const gy = ((y - low[1]) / steps[1] | 0) + PAD;
      const from = (z * shape[1] + y) * shape[0], to = (gz * size[1] + gy) * size[0] + PAD;
      for (let x = low[0]; x <= high[0]; x++)
        if (labels[from + x] === label) field[to + ((x - low[0]) / steps[0] | 0)] += share;
    }
  }
  return { field, size };
}

/** Weights 1, 2, 1 along each axis; the border stays 0. */
function smooth(field, size) {
  const strides = [1, size[0], size[0] * size[1]];
  for (const stride of strides) {
    const before = field.slice();
    for (let i = stride; i < field.length - stride; i++)
      field[i] = (before[i - stride] + 2 * before[i] + before[i + stride]) / 4;
  }
}

function surfaceOf(labels, shape, spacing, label, extent) {
  const steps = spacing.map((mm) =>
    extent.count < SMALL_VOXELS ? 1 : Math.max(1, Math.round(SURFACE_MM / mm)));
  const { field, size } = fieldOf(labels, shape, label, extent, steps);
  smooth(field, size);
  let most = 0;
  for (const value of field) most = Math.max(most, value);
  const iso = Math.min(0.45, most / 2); // thin organs are not lost
  const { points, vertexAt } = vertices(field, size, iso);
  for (let i = 0; i < points.length; i += 3)
    for (let axis = 0; axis < 3; axis++) {
      const voxel = extent.low[axis] + (points[i + axis] - PAD + 0.5) * steps[axis] - 0.5;
      points[i + axis] = voxel * spacing[axis];
    }
  return { points: new Float32Array(points), triangles: triangles(field, size, iso, vertexAt) };
}

const CORNERS = [...Array(8).keys()].map((c) => [c & 1, (c >> 1) & 1, c >> 2]);
const EDGES = CORNERS.flatMap((_, a) => [1, 2, 4].filter((bit) => !(a & bit)).map((bit) => [a, a | bit]));

function vertices(field, [nx, ny, nz], iso) {
  const points = [], vertexAt = new Int32Array(field.length).fill(-1);
  const offsets = CORNERS.map(([x, y, z]) => x + nx * (y + ny * z));
  for (let z = 0; z < nz - 1; z++)
    for (let y = 0; y < ny - 1; y++)
      for (let x = 0; x < nx - 1; x++) {
        const at = x + nx * (y + ny * z);
        let inside = 0;
        for (let c = 0; c < 8; c++) if (field[at + offsets[c]] > iso) inside++;
        if (!inside || inside === 8) continue;
        const sum = [0, 0, 0];
        let crossings = 0;
        for (const [a, b] of EDGES) {
          const first = field[at + offsets[a]], second = field[at + offsets[b]];
          if (first > iso === second > iso) continue;
          const share = (iso - first) / (second - first);
          for (let axis = 0; axis < 3; axis++)
            sum[axis] += CORNERS[a][axis] + share * (CORNERS[b][axis] - CORNERS[a][axis]);
          crossings++;
        }
        vertexAt[at] = points.length / 3;
        points.push(x + sum[0] / crossings, y + sum[1] / crossings, z + sum[2] / crossings);
      }
  return { points, vertexAt };
}

/** Two triangles for every edge of the grid that the surface cuts, seen from outside anticlockwise. */
function triangles(field, [nx, ny, nz], iso, vertexAt) {
  const found = [], strides = [1, nx, nx * ny];
  for (let z = 1; z < nz - 1; z++)
    for (let y = 1; y < ny - 1; y++)
      for (let x = 1; x < nx - 1; x++) {
        const at = x + nx * (y + ny * z), here = field[at] > iso;
        for (let axis = 0; axis < 3; axis++) {
          if (here === field[at + strides[axis]] > iso) continue;
          const u = strides[(axis + 1) % 3], v = strides[(axis + 2) % 3];
          const [a, b, c, d] = [at - u - v, at - v, at, at - u].map((cell) => vertexAt[cell]);
          if (here) found.push(a, b, c, a, c, d);
          else found.push(a, c, b, a, d, c);
        }
      }
  return new Uint32Array(found);
}
