// The followed surface in 3D, with three.js. Vertices are in the camera's optical frame: x right, y down, z away; up is up here.
"use strict";

const HOME = { yaw: 0.35, pitch: 0.25 };
const BACK_SHADE = 0x707070;        // what the back of the surface is multiplied with

class MeshScene {
  // low, high: corners of the box that is looked at
  constructor(canvas, colors, low, high) {
    this.canvas = canvas;
    this.colors = colors;
    this.drawn = 0;
    this.asked = false;
    THREE.ColorManagement.enabled = false;          // colours are shown as they are given
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true, preserveDrawingBuffer: true });
    this.renderer.outputColorSpace = THREE.LinearSRGBColorSpace;
    this.renderer.setClearColor(colors.ground);
    this.scene = new THREE.Scene();
    this.world = new THREE.Group();
    this.world.rotation.x = Math.PI;                // half a turn: y up, z towards the viewer
    this.centre = low.map((value, axis) => (value + high[axis]) / 2);
    this.radius = radiusOf(low, high);
    this.camera = new THREE.PerspectiveCamera(40, 1, 0.02 * this.radius, 100 * this.radius);
    this.light();
    this.scene.add(this.world, this.camera);
    this.controls = new THREE.OrbitControls(this.camera, canvas);
    this.controls.addEventListener("change", () => this.draw());
    this.look(HOME.yaw, HOME.pitch);
    this.world.add(axes(low.map((value, axis) => value - this.centre[axis]), this.radius, colors.ink));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  light() {                     // from where one looks; a Lambert surface sends on 1/pi of what it gets
    const lamp = new THREE.DirectionalLight(0xffffff, 0.45 * Math.PI);
    lamp.position.set(0, 0, 1);
    this.camera.add(lamp, lamp.target);
    this.scene.add(new THREE.AmbientLight(0xffffff, 0.55 * Math.PI));
  }

  look(yaw, pitch) {
    const distance = 1.05 * this.radius / Math.tan(20 * Math.PI / 180) / Math.min(1, this.aspect() || 1);
    this.camera.position.set(Math.sin(yaw) * Math.cos(pitch), Math.sin(pitch), Math.cos(yaw) * Math.cos(pitch)).multiplyScalar(distance);
    this.controls.target.set(0, 0, 0);
    this.controls.update();
    this.draw();
  }

  // As the camera saw it: from the origin of its frame, which the centre of the box is seen from.
  lookFromCamera() {
    const [x, y, z] = this.centre;
    this.look(Math.atan2(-x, z), Math.atan2(y, Math.hypot(x, z)));
  }

  setTopology({ triangles, rgb }) {
    if (this.meshes) { this.world.remove(...this.meshes); this.geometry.dispose(); }
    this.rgb = rgb;
    this.geometry = new THREE.BufferGeometry();
    this.geometry.setIndex(new THREE.BufferAttribute(triangles, 1));
    const front = new THREE.MeshLambertMaterial({ vertexColors: true, side: THREE.FrontSide });
    const back = new THREE.MeshLambertMaterial({ vertexColors: true, side: THREE.BackSide, color: BACK_SHADE });
    this.meshes = [front, back].map(material => new THREE.Mesh(this.geometry, material));
    for (const mesh of this.meshes) mesh.frustumCulled = false;
    this.world.add(...this.meshes);
  }

  // scale: one of the sequence's fields with its number, or null: the surface's own colours, pink where the camera does not see it
  show(frame, scale, number) {
    const count = frame.visible.length, positions = this.attribute("position", Float32Array, count, false);
    for (let i = 0; i < 3 * count; i++) positions[i] = frame.vertices[i] - this.centre[i % 3];
    const colors = this.attribute("color", Uint8Array, count, true);
    if (scale) this.paint(colors, frame.fields[number], this.colors[scale.colors]); else this.tint(colors, frame.visible);
    this.geometry.computeVertexNormals();
    this.geometry.boundingSphere = null;
    this.draw();
  }

  attribute(name, kind, count, normalised) {
    if (this.geometry.attributes[name]?.count !== count) {
      this.geometry.setAttribute(name, new THREE.BufferAttribute(new kind(3 * count), 3, normalised));
    }
    this.geometry.attributes[name].needsUpdate = true;
    return this.geometry.attributes[name].array;
  }

  paint(colors, shades, table) {
    for (let i = 0; i < shades.length; i++) {
      for (let c = 0; c < 3; c++) colors[3 * i + c] = shades[i] === 255 ? 90 : table[3 * shades[i] + c];
    }
  }

  tint(colors, visible) {
    const { plain, unseen, tint } = this.colors;
    for (let i = 0; i < visible.length; i++) {
      for (let c = 0; c < 3; c++) {
        const own = this.rgb ? this.rgb[3 * i + c] : plain[c];
        colors[3 * i + c] = visible[i] ? own : (1 - tint) * own + tint * unseen[c];
      }
    }
  }

  // The vertex nearest to where a ray through the pixel meets the surface; -1: it does not
  vertexAt(x, y) {
    if (!this.meshes) return -1;
    const box = this.canvas.getBoundingClientRect(), ray = new THREE.Raycaster();
    ray.setFromCamera(new THREE.Vector2(2 * (x - box.left) / box.width - 1, 1 - 2 * (y - box.top) / box.height), this.camera);
    const [hit] = ray.intersectObjects(this.meshes);
    if (!hit) return -1;
    const at = this.world.worldToLocal(hit.point.clone()), corner = new THREE.Vector3();
    const distance = vertex => corner.fromBufferAttribute(this.geometry.attributes.position, vertex).distanceTo(at);
    return [hit.face.a, hit.face.b, hit.face.c].sort((a, b) => distance(a) - distance(b))[0];
  }

  aspect() { return this.canvas.clientWidth / this.canvas.clientHeight; }

  draw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.render(); });
  }

  render() {
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (!width || !height) return;
    this.renderer.setPixelRatio(devicePixelRatio);
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.renderer.render(this.scene, this.camera);
    this.drawn++;
  }
}

function radiusOf(low, high) { return Math.hypot(...low.map((value, axis) => high[axis] - value)) / 2 || 1; }

// A round length of about a third of the radius.
function roundLength(radius) {
  const power = 10 ** Math.floor(Math.log10(radius / 2));
  return [5, 2, 1].map(digit => digit * power).find(length => length <= radius / 2) ?? power;
}

// The axes of the camera's frame, beside the box's corner at `low`, with their names.
function axes(low, radius, ink) {
  const length = roundLength(radius), gap = 0.12 * radius, group = new THREE.Group();
  group.position.set(low[0] - gap, low[1] - gap, low[2]);
  const ends = [0, 1, 2].map(axis => [0, 1, 2].map(k => (k === axis ? length : 0)));
  const lines = new THREE.BufferGeometry();
  lines.setAttribute("position", new THREE.BufferAttribute(new Float32Array(ends.flatMap(end => [0, 0, 0, ...end])), 3));
  group.add(new THREE.LineSegments(lines, new THREE.LineBasicMaterial({ color: ink })));
  ends.forEach((end, axis) => {
    const name = label("xyz"[axis], ink);
    name.position.set(...end.map(value => 1.12 * value));
    name.scale.multiplyScalar(0.14 * radius);
    group.add(name);
  });
  return group;
}

// Words as a sprite that is 1 high, and as wide as they are.
function label(text, ink) {
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 }), pen = canvas.getContext("2d");
  const font = "48px system-ui, sans-serif";
  pen.font = font;
  canvas.width = Math.max(64, Math.ceil(pen.measureText(text).width) + 16);
  Object.assign(pen, { font, fillStyle: ink, strokeStyle: "rgba(0, 0, 0, 0.7)", lineWidth: 6, lineJoin: "round", textAlign: "center",
    textBaseline: "middle" });          // only now: a new width forgets them
  pen.strokeText(text, canvas.width / 2, 32);
  pen.fillText(text, canvas.width / 2, 32);
  const sprite = new THREE.Sprite(new THREE.SpriteMaterial({ map: new THREE.CanvasTexture(canvas) }));
  sprite.scale.x = canvas.width / 64;
  return sprite;
}
