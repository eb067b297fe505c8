/** A pen for the keyboard: arrows move it, with Shift in small steps, and Space puts it down and lifts it. */

const STEP_PX = 12;
const FINE_STEP_PX = 3;
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const POINTER_ID = -1;

const within = (value) => Math.min(Math.max(value, 0), 1);

/**
 * Draws on a canvas that has the focus, by events of a pointer of its own, to which its pad listens.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLElement} mark beside the canvas; shows where the pen is
 * @param {() => boolean} isDrawing whether the pad still has a pen down
 * @param {(isDown: boolean) => void} onTurn told when Space has turned it
 */
export function followKeys(canvas, mark, isDrawing, onTurn) {
  const held = new Set();
  // A part of the canvas, whatever its size is; at first its middle.
  let [x, y] = [0.5, 0.5];
  let isDown = false;

  const send = (type) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const at = { clientX: left + x * width, clientY: top + y * height };
    canvas.dispatchEvent(new PointerEvent(type, { pointerId: POINTER_ID, button: 0, ...at }));
  };
  const show = () => {
    const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = canvas;
    mark.style.translate = `${offsetLeft + x * offsetWidth}px ${offsetTop + y * offsetHeight}px`;
    mark.className = isDown ? "down" : "";
  };
  const turn = (toDown) => {
    isDown = toDown;
    send(isDown ? "pointerdown" : "pointerup");
    show();
  };
  const lift = () => isDown && turn(false);
  // Two arrows at once go diagonally.
  const step = (event) => {
    held.add(event.key);
    const px = event.shiftKey ? FINE_STEP_PX : STEP_PX;
    for (const key of held) {
      x = within(x + (px * DIRECTIONS[key][0]) / canvas.offsetWidth);
      y = within(y + (px * DIRECTIONS[key][1]) / canvas.offsetHeight);
    }
    if (isDown) send("pointermove");
    show();
  };

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in DIRECTIONS) step(event);
    else if (event.key !== " ") return;
    else if (!event.repeat) {
      turn(!(isDown && isDrawing())); // a drawing that was cleared has no pen any more
      onTurn(isDown);
    }
    event.preventDefault();
    event.stopPropagation(); // of a page that has these keys, too
  });
  canvas.addEventListener("keyup", ({ key }) => held.delete(key));
  canvas.addEventListener("focus", show);
  canvas.addEventListener("blur", () => (held.clear(), lift()));
  // Another pen takes over.
  canvas.addEventListener("pointerdown", ({ pointerId }) => pointerId === POINTER_ID || lift());
}
