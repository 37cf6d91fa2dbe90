// The page's connection: what comes is shown, clicks are sent.
import { MeshView } from "./mesh_view.js";

const element = id => document.getElementById(id);
const mesh = new MeshView(element("mesh"));
let socket = null, shown = null;
window.dalf = { images: 0, surfaces: 0, mesh };        // for tests

function connect() {
  const secure = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${secure}://${location.host}/stream`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = event => typeof event.data === "string" ? showText(JSON.parse(event.data)) : showData(event.data);
  socket.onclose = () => {
    showText({ state: "lost", text: "the program has ended, or cannot be reached; trying again" });
    setTimeout(connect, 2000);
  };
}

function showText(message) {
  if ("title" in message) {
    document.title = message.title;
    element("buttons").replaceChildren(...message.buttons.map(button));
    element("note").textContent = "";
  }
  if ("state" in message) {
    element("state").className = message.state;
    element("status").textContent = message.text;
  }
  if ("note" in message) element("note").textContent = message.note;
}

function button(caption) {
  const made = document.createElement("button");
  made.textContent = caption;
  made.onclick = () => { if (socket.readyState === WebSocket.OPEN) socket.send(caption); };
  return made;
}

function showData(buffer) {
  const kind = String.fromCharCode(new Uint8Array(buffer, 0, 1)[0]);
  if (kind === "I") showImage(new Blob([new Uint8Array(buffer, 4)], { type: "image/jpeg" }));
  if (kind === "T") {
    const [vertices, triangles] = new Uint32Array(buffer, 4, 2);
    mesh.setTopology(new Uint32Array(buffer, 12, 3 * triangles), new Uint8Array(buffer, 12 + 12 * triangles, 3 * vertices));
  }
  if (kind === "S") {
    const [count] = new Uint32Array(buffer, 4, 1);
    mesh.setVertices(new Float32Array(buffer, 8, 3 * count), new Uint8Array(buffer, 8 + 12 * count, count));
    window.dalf.surfaces++;
  }
}

function showImage(blob) {
  const url = URL.createObjectURL(blob);
  element("image").src = url;
  if (shown) URL.revokeObjectURL(shown);
  shown = url;
  window.dalf.images++;
}

connect();
