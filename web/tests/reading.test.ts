import { test } from "node:test";
import * as reading from "../src/reading.ts";
import { rectangleBack } from "../src/reader.ts";
import { cutFrame, levelShapes, shows, toPicture } from "../src/views.ts";
import { assertClose, type Case, vectors } from "./vectors.ts";

const readingIn = (saved: Case["input"]) =>
  new reading.Reading(saved.text, saved.box, saved.digit_confidence, saved.angle);

const readingsIn = (saved: Case["input"][]): reading.Reading[] => saved.map(readingIn);

function placeIn(saved: Case["input"]): reading.Place {
  const readings = readingsIn(saved.readings);
  return { first: readings[0]!, readings, views: saved.views };
}

const answers: Record<string, (input: Case["input"]) => unknown> = {
  level_shapes: ({ width, height, overview }) => levelShapes(width, height, overview),
  group: ({ box, probability, min_score }) =>
    reading.group(box, probability, min_score).map(({ text, box, digitConfidence, angle, confidence, height, edges }) => ({
      text,
      box,
      digit_confidence: digitConfidence,
      angle,
      confidence,
      height,
      edges,
    })),
  shared_area: ({ a, b }) => reading.sharedArea(readingIn(a).edges, readingIn(b).edges),
  find_places: (input) => {
    const readings = readingsIn(input.readings);
    return reading.findPlaces(readings, input.count, input.views).map((place) => ({
      readings: place.readings.map((r) => readings.indexOf(r)),
      views: place.views,
    }));
  },
  add_readings: (input) => {
    const [place, readings] = [placeIn(input.place), readingsIn(input.readings)];
    const found = reading.addReadings(place, readings, input.views);
    return { added: found.readings.slice(place.readings.length).map((r) => readings.indexOf(r)), views: found.views };
  },
  choose: (input) => {
    const place = placeIn(input.place);
    const { reading: chosen, support, rank, confidence } = reading.choose(place, input.longer_side);
    return { reading: place.readings.indexOf(chosen), text: chosen.text, support, rank, confidence };
  },
  remove_overlaps: (input) => {
    const choices = input.choices.map((c: Case["input"]) => ({ reading: readingIn(c.reading), rank: c.rank }));
    return reading.removeOverlaps(choices).map((c) => choices.indexOf(c));
  },
  cut_geometry: (input) => {
    const frame = cutFrame(readingIn(input.reading), { digitHeight: input.digit_height, margin: input.margin });
    return { width: frame.size[0], scale: frame.scale, matrix: frame.matrix };
  },
  to_picture: (input) => ({
    shown: input.box.map((b: reading.Box) => shows(input, b)),
    box: toPicture(input, input.box.filter((b: reading.Box) => shows(input, b))),
  }),
  turned_back: ({ box, degrees, width, height }) => rectangleBack(box, degrees, width, height),
};

for (const [section, cases] of Object.entries(vectors("reading.json"))) {
  test(`${section}: ${cases.length} vectors of Python`, () => {
    cases.forEach(({ input, output }, i) => assertClose(answers[section]!(input), output, `${section} ${i}`));
  });
}
