/** Short strokes of colour that fly up from the drawing when it was recognised. */

const N_SPARKS = 90;
const DURATION_MS = 1500;
const COLOURS = ["#2b54d4", "#e0793a", "#2a9d77", "#d8a516"];

/**
 * @param {HTMLCanvasElement} canvas lies over the paper
 * @param {{x: number, y: number}} from in CSS pixels of the canvas
 */
export function celebrate(canvas, from) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  const context = canvas.getContext("2d");
  const reach = Math.min(width, height);
  const sparks = Array.from({ length: N_SPARKS }, (_, i) => {
    const angle = -Math.PI / 2 + (Math.random() - 0.5) * Math.PI * 1.5;
    const speed = reach * (0.5 + 0.9 * Math.random());
    return {
      vx: Math.cos(angle) * speed,
      vy: Math.sin(angle) * speed,
      length: 9 + 12 * Math.random(),
      turn: (Math.random() - 0.5) * 8,
      colour: COLOURS[i % COLOURS.length],
    };
  });
  const startedAt = performance.now();
  const frame = (now) => {
    const t = Math.max(now - startedAt, 0) / 1000;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (t * 1000 > DURATION_MS) return;
    context.lineWidth = 4.5;
    context.lineCap = "round";
    context.globalAlpha = Math.min(1, (DURATION_MS / 1000 - t) * 2.5);
    const flown = (1 - Math.exp(-2.6 * t)) / 2.6;
    for (const { vx, vy, length, turn, colour } of sparks) {
      const x = from.x + vx * flown;
      const y = from.y + vy * flown + reach * 0.5 * t * t;
      const angle = Math.atan2(vy, vx) + turn * t;
      context.strokeStyle = colour;
      context.beginPath();
      context.moveTo(x - (Math.cos(angle) * length) / 2, y - (Math.sin(angle) * length) / 2);
      context.lineTo(x + (Math.cos(angle) * length) / 2, y + (Math.sin(angle) * length) / 2);
      context.stroke();
    }
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}
