// What NiiVue draws: three planes in one canvas, surfaces in another.

const MISSED = 254, ADDED = 255; // labels of the map of differences
const MISSED_COLOR = [64, 156, 255], ADDED_COLOR = [255, 176, 0];
const NIFTI_UINT8 = 2, NIFTI_INT16 = 4;
const QUARTERS = { axial: [0, 0, 0.5, 0.5], coronal: [0.5, 0, 0.5, 0.5], sagittal: [0, 0.5, 0.5, 0.5] };
const PLANES = ["axial", "coronal", "sagittal"]; // NiiVue's numbers of them

function runLibrary(bytes) {
  // An element with this very text: the page's policy allows it by its digest.
  const script = document.createElement("script");
  script.textContent = new TextDecoder().decode(bytes);
  document.head.append(script);
  if (!window.niivue) throw new Error("NiiVue could not be started");
}

const COMMON = {
  backColor: [0, 0, 0, 1], logLevel: "error", loadingText: "", dragAndDropEnabled: false,
  viewModeHotKey: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "", isColorbar: false,
};

async function image(about, voxels, type, ...rest) {
  const [x, y, z] = about.spacing_mm;
  const affine = [x, 0, 0, 0, 0, y, 0, 0, 0, 0, z, 0, 0, 0, 0, 1];
  const file = niivue.NVImage.createNiftiArray(about.shape, about.spacing_mm, affine, type, voxels);
  return niivue.NVImage.new(file.buffer, "voxels.nii", ...rest);
}

/** The three planes. */
class Planes {
  static async open(canvas, about, hu, maps) {
    const planes = new Planes();
    Object.assign(planes, { about, maps });
    planes.nv = new niivue.Niivue({
      ...COMMON, isRadiologicalConvention: true, sagittalNoseLeft: true,
      crosshairColor: [1, 1, 1, 0.7], crosshairWidthUnit: "mm", fontColor: [1, 1, 1, 0.9], fontMinPx: 14,
      multiplanarShowRender: niivue.SHOW_RENDER.NEVER, scrollRequiresFocus: true,
      dragMode: niivue.DRAG_MODE.windowing,
    });
    await planes.nv.attachToCanvas(canvas);
    planes.nv.drawLut.lut.fill(255, 4); // the lines of the second map are white
    planes.nv.addVolume(await image(about, hu, NIFTI_INT16, "gray", 1, null, -160, 240));
    // Not by addVolume, which would draw the CT once more and the labels without their colours.
    planes.organs = await image(about, maps[0], NIFTI_UINT8, "gray", 1);
    planes.nv.volumes.push(planes.organs);
    planes.nv.overlays = [planes.organs];
    if (maps[1]) planes.nv.createEmptyDrawing();
    return planes;
  }

  /** Paints the labels in `on` of map 0 or 1, the outline of 1 over 0 ("both"), or where they differ. */
  paint(which, on, opacity) {
    const [prediction, truth] = this.maps;
    const labels = this.organs.img;
    if (which === "differences") {
      for (let i = 0; i < labels.length; i++)
        labels[i] = prediction[i] === truth[i] ? 0 : on.has(truth[i]) ? MISSED : on.has(prediction[i]) ? ADDED : 0;
    } else labels.set(which === "1" ? truth : prediction);
    this.organs.setColormapLabel(this.colors(which === "differences", on));
    this.organs.opacity = opacity;
    this.nv.refreshLayers(this.organs, 1);
    if (truth) {
      for (let i = 0; i < truth.length; i++)
        this.nv.drawBitmap[i] = which === "both" && on.has(truth[i]) ? truth[i] : 0;
      this.nv.drawOpacity = 0.004; // nothing inside, only the rim
      this.nv.drawRimOpacity = 1;
      this.nv.refreshDrawing(false);
    }
    this.nv.drawScene();
  }

  colors(differences, on) {
    const rows = differences
      ? [[MISSED, "missed", MISSED_COLOR], [ADDED, "added", ADDED_COLOR]]
      : this.about.organs.map(({ label, name, color }) => [label, name, color]);
    const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    for (const [label, name, [red, green, blue]] of rows) {
      table.R.push(red); table.G.push(green); table.B.push(blue); table.I.push(label);
      table.A.push(differences || on.has(label) ? 255 : 0);
      table.labels.push(name);
    }
    return table;
  }

  window([low, high]) {
    const [ct] = this.nv.volumes;
    Object.assign(ct, { cal_min: low, cal_max: high });
    this.nv.refreshLayers(ct, 0);
    this.nv.drawScene();
  }

  layout(view) {
    this.view = view;
    this.nv.opts.crosshairWidth = 1.3 * this.pixelMm();
    this.nv.setCustomLayout(view === "all"
      ? PLANES.map((name, number) => ({ sliceType: number, position: QUARTERS[name] }))
      : [{ sliceType: PLANES.indexOf(view), position: [0, 0, 1, 1] }]);
  }

  /** About how many millimetres a pixel shows. */
  pixelMm() {
    const { clientWidth, clientHeight } = this.nv.canvas;
    const [x, y, z] = this.about.shape.map((count, axis) => count * this.about.spacing_mm[axis]);
    const most = { axial: [x, y], coronal: [x, z], sagittal: [y, z] }[this.view] ?? [2 * x, 2 * Math.max(y, z)];
    return Math.max(most[0] / clientWidth, most[1] / clientHeight);
  }

  place(voxel) {
    this.nv.scene.crosshairPos = this.nv.vox2frac(voxel);
    this.nv.createOnLocationChange();
    this.nv.drawScene();
  }

  /** Tells the window that a drag has set: NiiVue itself tells nobody. */
  onWindow(told) {
    const dragged = this.nv.windowingHandler.bind(this.nv);
    this.nv.windowingHandler = (...place) => {
      dragged(...place);
      const [ct] = this.nv.volumes;
      told([ct.cal_min, ct.cal_max]);
    };
  }

  onPlace(told) {
    const most = this.about.shape.map((count) => count - 1);
    this.nv.onLocationChange = () => {
      const voxel = [...this.nv.frac2vox(this.nv.scene.crosshairPos)];
      told(voxel.map((at, axis) => Math.min(most[axis], Math.max(0, Math.round(at)))));
    };
  }
}

/** The surfaces, made when a map is first shown. */
class Solid {
  static async open(canvas, about, maps) {
    const solid = new Solid();
    Object.assign(solid, { about, maps, made: {}, shown: null });
    solid.nv = new niivue.Niivue({ ...COMMON, isOrientCube: true, show3Dcrosshair: false });
    await solid.nv.attachToCanvas(canvas);
    solid.nv.setSliceType(niivue.SLICE_TYPE.RENDER);
    return solid;
  }

  async show(which, on, extents) {
    this.wanted = [which, on];
    if (!this.made[which]) {
      this.made[which] = new Map();
      const { shape, spacing_mm, organs } = this.about;
      for (const { label, name, color } of organs) {
        const extent = extents[which].get(label);
        if (!extent) continue;
        const { points, triangles } = surfaceOf(this.maps[which], shape, spacing_mm, label, extent);
        if (!triangles.length) continue;
        const rgba = new Uint8Array([...color, 255]);
        const mesh = new niivue.NVMesh(points, triangles, name, rgba, 1, false, this.nv.gl);
        this.made[which].set(label, mesh);
        this.nv.addMesh(mesh);
        await new Promise((done) => setTimeout(done)); // the page stays awake
      }
      this.nv.setRenderAzimuthElevation(180, 10);
    }
    const [map, labels] = this.wanted;
    for (const [name, meshes] of Object.entries(this.made))
      for (const [label, mesh] of meshes) mesh.visible = Number(name) === map && labels.has(label);
    this.nv.drawScene();
  }
}
