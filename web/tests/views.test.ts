import { strict as assert } from "node:assert";
import { test } from "node:test";
import { gray, type Pixels, rotate } from "../src/pixels.ts";
import { CUT_HEIGHT, cut, overviewLevels } from "../src/views.ts";
import { assertClose, type Case, sha256, vectors } from "./vectors.ts";

const STEP = 101;

/** The picture of tests/make_view_vectors.py, with a fourth channel as a canvas has it. */
function picture(width: number, height: number, channels: 3 | 4): Pixels {
  const data = new Uint8Array(width * height * channels).fill(255);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += channels) {
      for (let c = 0; c < 3; c++) data[at + c] = (3 * x + 5 * y + 40 * c + ((x * y * (c + 1)) % 61)) % 256;
    }
  }
  return { data, width, height, channels };
}

function assertPixels(data: Uint8Array, shape: number[], expected: Case["output"], where: string): void {
  assert.deepEqual(shape, expected.shape, where);
  const sample = expected.sample.map((_: number, i: number) => data[i * STEP]);
  assert.deepEqual(sample, expected.sample, where);
  assert.equal(sha256(data), expected.sha256, where);
}

const assertImage = ({ data, width, height }: Pixels, expected: Case["output"], where: string) =>
  assertPixels(data, [height, width, 3], expected, where);

const checks: Record<string, (image: Pixels, input: Case["input"], output: Case["output"], where: string) => void> = {
  overview_levels: (image, input, output, where) => {
    const levels = overviewLevels(image, input.overview);
    assert.equal(levels.length, output.length);
    levels.forEach(({ pixels, ...frame }, i) => {
      const { matrix, scale, size, ...expected } = output[i];
      assertClose(frame, { matrix, scale, size }, where);
      assertImage(pixels, expected, `${where}, level ${i}`);
    });
  },
  cut: (image, { matrix, scale, cut_width, contrast }, output, where) =>
    assertImage(cut(image, { matrix, scale, size: [cut_width, CUT_HEIGHT] }, contrast).pixels, output, where),
  rotate: (image, { degrees }, output, where) => assertImage(rotate(image, degrees), output, where),
  gray: (image, _, output, where) => {
    if (image.channels === 3) assertPixels(gray(image), [image.height, image.width], output, where);
  },
};

for (const [section, cases] of Object.entries(vectors("views.json"))) {
  for (const channels of [3, 4] as const) {
    test(`${section} of ${channels} channels: the pixels of Python, ${cases.length} vectors`, () => {
      cases.forEach(({ input, output }) => {
        const where = `${section} ${JSON.stringify(input)}`;
        checks[section]!(picture(input.width, input.height, channels), input, output, where);
      });
    });
  }
}
