// What of three.js is bundled into three.min.js: see README.md beside this file.
export {
  AmbientLight, BackSide, BufferAttribute, BufferGeometry, CanvasTexture, ColorManagement, DirectionalLight,
  FrontSide, Group, LinearSRGBColorSpace, LineBasicMaterial, LineSegments, Mesh, MeshLambertMaterial,
  PerspectiveCamera, Raycaster, Scene, Sprite, SpriteMaterial, Vector2, Vector3, WebGLRenderer,
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
