// The named points in the scene: a disc and its name, in grey where the surface does not show it. Drawn over the surface.
"use strict";

class NamedPoints {
  // points: of the page's data, each { name, position: [[x, y, z] or null of each frame], visible: [0 or 1 of each frame] }
  constructor(scene, points, colors) {
    this.scene = scene;
    this.points = points;
    this.colors = colors;
    this.drawn = points.map(({ name }) => {
      const group = new THREE.Group(), spot = disc(colors.ground), words = label(name, colors.ink);
      spot.scale.setScalar(0.07 * scene.radius);
      words.scale.multiplyScalar(0.13 * scene.radius);
      words.center.set(-0.1, 0.2);                      // beside the disc, to its right
      group.add(spot, words);
      for (const part of group.children) { part.renderOrder = 1; part.material.depthTest = false; }
      scene.world.add(group);
      return { group, spot, words };
    });
  }

  show(frame) {
    this.drawn.forEach(({ group, spot, words }, i) => {
      const position = this.points[i].position[frame], seen = this.points[i].visible[frame];
      group.visible = position !== null;
      if (!position) return;
      group.position.set(...position.map((value, axis) => value - this.scene.centre[axis]));
      spot.material.color.set(`rgb(${seen ? this.colors.point : this.colors.hidden})`);
      words.material.opacity = seen ? 1 : 0.55;
    });
    this.scene.draw();
  }

  // One line: where each is in a frame
  words(frame) {
    return this.points.map(({ name, position, visible }) => {
      const at = position[frame];
      return at ? `${name} (${at.map(value => value.toFixed(4)).join(", ")}) m${visible[frame] ? "" : ", hidden"}` : `${name}: not known`;
    }).join("; ");
  }
}

// White, to be coloured, with a rim; a sprite that is 1 high.
function disc(rim) {
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 }), pen = canvas.getContext("2d");
  pen.beginPath();
  pen.arc(32, 32, 26, 0, 2 * Math.PI);
  Object.assign(pen, { fillStyle: "#ffffff", strokeStyle: rim, lineWidth: 8 });
  pen.fill();
  pen.stroke();
  return new THREE.Sprite(new THREE.SpriteMaterial({ map: new THREE.CanvasTexture(canvas) }));
}
