// The controls.

const WINDOWS = { "soft tissue": [-160, 240], lung: [-1000, 400], bone: [-450, 1350] };
const VIEWS = ["all", ...PLANES, "3D"];
const byId = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name in made && name !== "list") made[name] = value; else made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Radio buttons that look like one row of buttons. */
function choices(into, name, options, chosen, changed) {
  for (const [value, text] of Object.entries(options)) {
    const input = element("input", { type: "radio", name, value, checked: value === chosen });
    input.addEventListener("change", () => changed(value));
    into.append(element("label", {}, input, element("span", {}, text)));
  }
}

function swatch(color) {
  const found = element("i", { className: "swatch" });
  found.style.background = `rgb(${color.join()})`;
  return found;
}

const millilitres = (ml) => (ml >= 100 ? ml.toFixed(0) : ml.toFixed(1));

class Page {
  constructor(about, hu, maps) {
    const extents = maps.map((labels) => extentsOf(labels, about.shape));
    Object.assign(this, { about, hu, maps, extents, which: maps.length > 1 ? "both" : "0" });
    this.on = new Set(about.organs.map(({ label }) => label));
    this.opacity = 0.45;
    this.checks = new Map();
  }

  async start() {
    this.planes = await Planes.open(byId("planes"), this.about, this.hu, this.maps);
    this.solid = await Solid.open(byId("surfaces"), this.about, this.maps);
    this.controls();
    this.planes.onWindow((range) => {
      this.windowed(range);
      document.querySelectorAll("[name=window]").forEach((input) => { input.checked = false; });
    });
    this.planes.onPlace((voxel) => this.told(voxel));
    addEventListener("resize", () => this.planes.layout(this.planes.view));
    this.planes.layout("all");
    this.planes.paint(this.which, this.on, this.opacity);
    this.planes.place(this.about.start);
    await this.shape();
  }

  controls() {
    choices(byId("views"), "view", Object.fromEntries(VIEWS.map((name) => [name, name])), "all", (view) => this.view(view));
    choices(byId("windows"), "window", Object.fromEntries(Object.keys(WINDOWS).map((name) => [name, name])), "soft tissue",
      (name) => { this.planes.window(WINDOWS[name]); this.windowed(WINDOWS[name]); });
    this.windowed(WINDOWS["soft tissue"]);
    if (this.maps.length > 1) {
      byId("shown").hidden = false;
      const [first, second] = this.about.maps;
      choices(byId("shown"), "map", { 0: first, 1: second, both: "both", differences: "differences" }, this.which, (which) => { this.which = which; this.legend(); this.changed(); });
    }
    byId("opacity").addEventListener("input", (event) => {
      this.opacity = event.target.value / 100;
      this.paint();
    });
    byId("every").addEventListener("click", () => this.only(this.about.organs.map(({ label }) => label)));
    byId("none").addEventListener("click", () => this.only([]));
    this.slices();
    this.organs();
    this.legend();
    byId("notes").append(...this.about.notes.map((note) => element("li", {}, note)));
  }

  slices() {
    this.sliders = ["sagittal", "coronal", "axial"].map((name, axis) => {
      const input = element("input", { type: "range", min: 0, max: this.about.shape[axis] - 1, step: 1, id: `slice-${name}` });
      input.addEventListener("input", () => {
        const voxel = this.voxel.slice();
        voxel[axis] = Number(input.value);
        this.planes.place(voxel);
      });
      return element("label", { className: name }, element("span", {}, name), input).lastChild;
    });
    byId("slices").append(...this.sliders.map((input) => input.parentElement).reverse());
  }

  organs() {
    const compared = this.maps.length > 1;
    const heads = ["organ", ...(compared ? [...this.about.maps.map((name) => `${name} ml`), "DSC"] : ["ml"]), ""];
    byId("organs").tHead.append(element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head))));
    for (const organ of this.about.organs) {
      const there = organ.ml.some((ml) => ml > 0);
      const check = element("input", { type: "checkbox", checked: there, disabled: !there, id: `organ-${organ.label}` });
      check.addEventListener("change", () => {
        this.on[check.checked ? "add" : "delete"](organ.label);
        this.changed();
      });
      if (there) this.checks.set(organ.label, check);
      const go = element("button", { type: "button", disabled: !there, title: `Go to ${organ.name}`, ariaLabel: `Go to ${organ.name}` });
      go.addEventListener("click", () => this.go(organ.label));
      const figures = organ.ml.map((ml) => (ml ? millilitres(ml) : "–"));
      if (compared) figures.push(organ.dsc === null ? "–" : organ.dsc.toFixed(3));
      byId("organs").tBodies[0].append(element("tr", { className: there ? "" : "absent" },
        element("th", { scope: "row" }, element("label", {}, check, swatch(organ.color), organ.name)),
        ...figures.map((figure) => element("td", {}, figure)), element("td", {}, go)));
    }
  }

  legend() {
    const [first, second] = this.about.maps;
    if (!this.checks.size) {
      byId("legend").textContent = "No organ is labelled.";
      return;
    }
    byId("legend").replaceChildren(...{
      both: [`Filled: ${first}. White line: ${second}.`],
      differences: [swatch(MISSED_COLOR), `only in ${second} `, swatch(ADDED_COLOR), `only in ${first}`],
    }[this.which] ?? []);
  }

  only(labels) {
    this.on = new Set(labels);
    for (const [label, check] of this.checks) check.checked = this.on.has(label);
    this.changed();
  }

  go(label) {
    const there = (map) => this.extents[map]?.has(label);
    const map = [this.which === "1" ? 1 : 0, 0, 1].find(there);
    if (map === undefined) return; // an organ so small that the copy has none of it
    this.planes.place(middleOf(this.maps[map], this.about.shape, label, this.extents[map].get(label)));
  }

  windowed(range) {
    byId("range").textContent = `${range.map((hu) => Math.round(hu)).join(" to ")} HU`.replaceAll("-", "−");
  }

  paint() { this.planes.paint(this.which, this.on, this.opacity); }

  shape() { return this.solid.show(this.which === "1" ? 1 : 0, this.on, this.extents); }

  changed() { this.paint(); return this.shape(); }

  view(view) {
    byId("stage").dataset.view = view;
    if (view !== "3D") this.planes.layout(view);
  }

  told(voxel) {
    this.voxel = voxel;
    const [x, y, z] = voxel, [nx, ny] = this.about.shape, at = x + nx * (y + ny * z);
    this.sliders.forEach((input, axis) => { input.value = voxel[axis]; });
    const name = (map) => {
      const label = this.maps[map][at];
      return label ? this.about.organs.find((organ) => organ.label === label).name : "no organ";
    };
    const file = this.about.file.map(({ axis, ratio, start, last }) => {
      const index = Math.floor((voxel[axis] + 0.5) * ratio) + start;
      return last < 0 ? index : last - index;
    });
    const organs = this.maps.length > 1
      ? this.about.maps.map((map, number) => `${map}: ${name(number)}`).join(", ") : name(0);
    byId("here").textContent = `${this.hu[at]} HU · ${organs} · voxel ${file.join(", ")}`;
  }
}

async function main() {
  const about = JSON.parse(byId("case").textContent);
  try {
    if (!window.DecompressionStream) throw new Error("this browser is too old: it cannot decompress; use one of 2023 or later");
    if (!document.createElement("canvas").getContext("webgl2")) throw new Error("this browser has no WebGL 2, or it is switched off");
    runLibrary(await inflated("library", "gzip"));
    const hu = decodeCt(await inflated("ct", "deflate"), about.shape, about.hu);
    const maps = [];
    for (const number of about.maps.keys()) maps.push(await inflated(`map-${number}`, "deflate"));
    const page = new Page(about, hu, maps);
    await page.start();
    document.body.dataset.state = "ready";
  } catch (error) {
    document.body.dataset.state = "failed";
    byId("problem").hidden = false;
    byId("problem").textContent = `Nothing can be drawn: ${error.message}.`;
  }
}

main();
