// Draws a mesh with coloured vertices, from any side. Vertices come with x right, y down, z away; up is up here.
const VERTEX = `#version 300 es
in vec3 position; in vec3 normal; in vec4 color;
uniform mat4 projection, view;
out vec3 eye; out vec3 eyeNormal; out vec4 tint;
void main() {
  vec4 p = view * vec4(position, 1.0);
  eye = p.xyz; eyeNormal = mat3(view) * normal; tint = color;
  gl_Position = projection * p;
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 eye; in vec3 eyeNormal; in vec4 tint;
out vec4 result;
void main() {
  float light = 0.45 + 0.55 * abs(dot(normalize(eyeNormal), normalize(-eye)));
  vec3 rgb = mix(mix(tint.rgb, vec3(0.84, 0.26, 0.59), 0.55), tint.rgb, tint.a);      // alpha 0: not seen
  if (!gl_FrontFacing) rgb = mix(vec3(dot(rgb, vec3(0.3, 0.6, 0.1))), rgb, 0.35) * 0.75;   // the back
  result = vec4(rgb * light, 1.0);
}`;
const FIELD = Math.tan(20 * Math.PI / 180);     // half the angle of view
const HOME = { yaw: 0.35, pitch: 0.25, zoom: 1 };

export class MeshView {
  constructor(canvas) {
    this.canvas = canvas;
    this.look = { ...HOME };
    this.triangles = null;
    this.frame = null;          // { centre, radius } of the surface when it was first shown
    this.asked = false;
    this.drawn = 0;             // times, for tests
    this.gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    if (!this.gl) { document.getElementById("note").textContent = "this browser has no WebGL 2: the surface is not shown"; return; }
    this.program = link(this.gl, VERTEX, FRAGMENT);
    this.buffers = Object.fromEntries(["position", "normal", "color", "index"].map(name => [name, this.gl.createBuffer()]));
    listen(canvas, this);
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  setTopology(triangles, rgb) {
    this.triangles = triangles;
    this.rgb = rgb;
    this.vertices = null;
    this.frame = null;
    if (!this.gl) return;
    this.gl.bindBuffer(this.gl.ELEMENT_ARRAY_BUFFER, this.buffers.index);
    this.gl.bufferData(this.gl.ELEMENT_ARRAY_BUFFER, triangles, this.gl.STATIC_DRAW);
    this.draw();
  }

  setVertices(vertices, visible) {
    if (!this.triangles || vertices.length !== this.rgb.length) return;
    this.vertices = vertices;
    this.visible = visible;
    this.frame ??= around(vertices);
    this.draw();
  }

  draw() {
    if (!this.gl || this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.render(); });
  }

  render() {
    this.drawn++;
    const { gl, canvas } = this;
    const width = Math.round(canvas.clientWidth * devicePixelRatio), height = Math.round(canvas.clientHeight * devicePixelRatio);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    gl.viewport(0, 0, width, height);
    gl.clearColor(0.075, 0.085, 0.095, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (!this.vertices || !width || !height) return;
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(this.program);
    const aspect = width / height, distance = 1.05 * this.frame.radius / (FIELD * Math.min(1, aspect)) / this.look.zoom;
    gl.uniformMatrix4fv(gl.getUniformLocation(this.program, "projection"), false, perspective(aspect, distance, this.frame.radius));
    gl.uniformMatrix4fv(gl.getUniformLocation(this.program, "view"), false, viewMatrix(this.look, this.frame.centre, distance));
    this.fill("position", this.vertices, 3, gl.FLOAT);
    this.fill("normal", normals(this.vertices, this.triangles), 3, gl.FLOAT);
    this.fill("color", withAlpha(this.rgb, this.visible), 4, gl.UNSIGNED_BYTE);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers.index);
    gl.drawElements(gl.TRIANGLES, this.triangles.length, gl.UNSIGNED_INT, 0);
  }

  fill(name, data, size, type) {
    const { gl } = this, place = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STREAM_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, type, type !== gl.FLOAT, 0, 0);
  }
}

function listen(canvas, mesh) {
  const limit = 1.5;
  canvas.onpointerdown = event => canvas.setPointerCapture(event.pointerId);
  canvas.onpointermove = event => {
    if (!event.buttons) return;
    mesh.look.yaw += 0.008 * event.movementX;
    mesh.look.pitch = Math.max(-limit, Math.min(limit, mesh.look.pitch + 0.008 * event.movementY));
    mesh.draw();
  };
  canvas.onwheel = event => {
    event.preventDefault();
    mesh.look.zoom = Math.max(0.2, Math.min(20, mesh.look.zoom * Math.exp(-0.0015 * event.deltaY)));
    mesh.draw();
  };
  canvas.ondblclick = () => { mesh.look = { yaw: 0, pitch: 0, zoom: 1 }; mesh.draw(); };
}

function around(vertices) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < vertices.length; i++) {
    low[i % 3] = Math.min(low[i % 3], vertices[i]);
    high[i % 3] = Math.max(high[i % 3], vertices[i]);
  }
  const centre = low.map((value, axis) => (value + high[axis]) / 2);
  return { centre, radius: Math.hypot(...low.map((value, axis) => high[axis] - value)) / 2 || 1 };
}

function normals(vertices, triangles) {
  const sum = new Float32Array(vertices.length);
  for (let t = 0; t < triangles.length; t += 3) {
    const a = 3 * triangles[t], b = 3 * triangles[t + 1], c = 3 * triangles[t + 2];
    const ux = vertices[b] - vertices[a], uy = vertices[b + 1] - vertices[a + 1], uz = vertices[b + 2] - vertices[a + 2];
    const vx = vertices[c] - vertices[a], vy = vertices[c + 1] - vertices[a + 1], vz = vertices[c + 2] - vertices[a + 2];
    const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
    for (const k of [a, b, c]) { sum[k] += x; sum[k + 1] += y; sum[k + 2] += z; }
  }
  for (let i = 0; i < sum.length; i += 3) {
    const length = Math.hypot(sum[i], sum[i + 1], sum[i + 2]) || 1;
    sum[i] /= length; sum[i + 1] /= length; sum[i + 2] /= length;
  }
  return sum;
}

function withAlpha(rgb, visible) {
  const rgba = new Uint8Array(4 * visible.length);
  for (let i = 0; i < visible.length; i++) {
    rgba[4 * i] = rgb[3 * i]; rgba[4 * i + 1] = rgb[3 * i + 1]; rgba[4 * i + 2] = rgb[3 * i + 2];
    rgba[4 * i + 3] = visible[i] ? 255 : 0;
  }
  return rgba;
}

// Matrices by columns, as WebGL takes them.
function perspective(aspect, distance, radius) {
  const near = Math.max(distance - 3 * radius, distance / 50), far = distance + 10 * radius;
  return [1 / (FIELD * aspect), 0, 0, 0, 0, 1 / FIELD, 0, 0, 0, 0, (near + far) / (near - far), -1, 0, 0, 2 * near * far / (near - far), 0];
}

function viewMatrix({ yaw, pitch }, centre, distance) {
  const cy = Math.cos(yaw), sy = Math.sin(yaw), cp = Math.cos(pitch), sp = Math.sin(pitch);
  // turned about the axis that points up, then about the one to the right; before that half a turn about x: (x, -y, -z)
  const rows = [[cy, 0, -sy], [sp * sy, -cp, sp * cy], [-cp * sy, -sp, -cp * cy]];
  const moved = rows.map(row => -(row[0] * centre[0] + row[1] * centre[1] + row[2] * centre[2]));
  moved[2] -= distance;
  return [rows[0][0], rows[1][0], rows[2][0], 0, rows[0][1], rows[1][1], rows[2][1], 0, rows[0][2], rows[1][2], rows[2][2], 0, ...moved, 1];
}

function link(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  return program;
}
