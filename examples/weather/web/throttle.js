// Run at once, then at most once in so many milliseconds, and always after the last call.

export function throttle(run, everyMs) {
  let timer = 0;
  let again = false;
  function turn() {
    timer = 0;
    if (!again) return;
    again = false;
    timer = setTimeout(turn, everyMs);
    run();
  }
  return () => {
    again = true;
    if (!timer) turn();
  };
}
