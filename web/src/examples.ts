/** Pictures that the project drew itself. */
export const EXAMPLES = [
  { file: "door.jpg", title: "A plate on a wall" },
  { file: "wall-84.jpg", title: "Black on blue" },
  { file: "sign-2718.jpg", title: "Large and curved" },
  { file: "slanted-37145.jpg", title: "Slanted" },
  { file: "stacked-31232.jpg", title: "From top to bottom" },
  { file: "several.jpg", title: "Several numbers" },
] as const;
