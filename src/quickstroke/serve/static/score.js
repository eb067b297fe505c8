/** The best game and the longest streak of won rounds. */

/**
 * @typedef {{games: number, best: number, streak: number, bestStreak: number}} Score `best`: rounds won of six
 */
export const NO_SCORE = { games: 0, best: 0, streak: 0, bestStreak: 0 };

/**
 * The score after a game, and whether it was better than all before.
 *
 * @param {Score} before
 * @param {import("./game.js").Round[]} rounds
 * @returns {Score & {isBest: boolean}}
 */
export function scored(before, rounds) {
  let { streak, bestStreak } = before;
  for (const { outcome } of rounds) {
    streak = outcome === "won" ? streak + 1 : 0;
    bestStreak = Math.max(bestStreak, streak);
  }
  const nWon = rounds.filter(({ outcome }) => outcome === "won").length;
  const isBest = nWon > before.best;
  return { games: before.games + 1, best: Math.max(before.best, nWon), streak, bestStreak, isBest };
}

/** `Best game: 4 of 6. Longest streak: 9.` */
export function recordsText({ games, best, bestStreak }) {
  return games ? `Best game: ${best} of 6. Longest streak: ${bestStreak}.` : "";
}
