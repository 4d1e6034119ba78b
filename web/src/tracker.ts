// Reads the numbers of a video: a number that was found is read again in a cut, without a new overview.

import type { Pixels } from "./pixels.ts";
import { type Engine, find, type NumberFound, numberOf, readAgain } from "./reader.ts";
import { choose, MIN_SHARED_AREA, type Place, Reading, removeOverlaps, sharedArea, sortedBy } from "./reading.ts";

/** Width of the overview of a frame of 4:3: half of that of a picture, because there are many frames. */
const OVERVIEW = 256;
/** Frames from overview to overview while numbers are tracked; without any, every frame has one. */
const OVERVIEW_EVERY = 12;
/** Numbers that are tracked at once. */
const MAX_TRACKS = 3;
/** A number is the one that most of the readings of its last frames agree on. */
const MEMORY = 8;
/** A number that is not read in this many frames is lost. */
const PATIENCE = 4;
/** A number with a lower confidence is not shown. */
const MIN_CONFIDENCE = 0.3;

interface Track {
  /** Readings of the last frames, the newest first; empty where a frame shows none. */
  readonly frames: readonly (readonly Reading[])[];
  /** The newest reading, around which the next frame is cut. */
  readonly last: Reading;
}

export class Tracker {
  private tracks: readonly Track[] = [];
  private framesSinceOverview = 0;

  constructor(private readonly engine: Engine) {}

  /** Returns the numbers of the next frame, best first. */
  async next(frame: Pixels): Promise<NumberFound[]> {
    const longerSide = Math.max(frame.width, frame.height);
    await this.follow(frame);
    if (!this.tracks.length || ++this.framesSinceOverview >= OVERVIEW_EVERY) {
      await this.discover(frame);
      this.framesSinceOverview = 0;
    }
    return removeOverlaps(this.tracks.map((track) => ({ track, ...choose(placeOf(track), longerSide) })))
      .filter(({ confidence }) => confidence >= MIN_CONFIDENCE)
      .map(({ track, reading, confidence }) => {
        const newest = track.last.text === reading.text ? track.last : centered(reading, track.last);
        return numberOf({ reading: newest, confidence });
      });
  }

  /** Reads the tracked numbers again, each around its newest reading, and drops the lost ones. */
  private async follow(frame: Pixels): Promise<void> {
    const found = await readAgain(this.engine, frame, this.tracks.map(({ last }) => placeAt(last)));
    const tracks = this.tracks.map((track, i) => {
      const readings = found[i]!.readings.slice(1); // the first one is track.last
      return { ...track, last: best(readings) ?? track.last, frames: [readings, ...track.frames].slice(0, MEMORY) };
    });
    const kept: Track[] = [];
    for (const track of tracks) {
      const seen = track.frames.slice(0, PATIENCE).some((readings) => readings.length);
      if (seen && kept.every(({ last }) => apart(track.last, last))) kept.push(track);
    }
    this.tracks = kept;
  }

  /** Looks for numbers in an overview, and reads a cut of each: new ones, and longer ones where a part is tracked. */
  private async discover(frame: Pixels): Promise<void> {
    const places = await find(this.engine, frame, OVERVIEW);
    const isNew = ({ first }: Place) =>
      this.tracks.every(({ last }) => apart(first, last) || first.text.length > last.text.length);
    const again = await readAgain(this.engine, frame, places.filter(isNew).slice(0, MAX_TRACKS));
    const sure = again
      .map((place) => choose(place, Math.max(frame.width, frame.height)))
      .filter(({ confidence }) => confidence >= MIN_CONFIDENCE);
    for (const { reading } of removeOverlaps(sure)) {
      const others = this.tracks.filter(({ last }) => apart(reading, last) || last.text.length >= reading.text.length);
      if (others.length < this.tracks.length || others.every(({ last }) => apart(reading, last))) {
        this.tracks = [...others, { last: reading, frames: [[reading]] }].slice(0, MAX_TRACKS);
      }
    }
  }
}

const apart = (a: Reading, b: Reading): boolean => sharedArea(a.edges, b.edges) <= MIN_SHARED_AREA;

const placeAt = (reading: Reading): Place => ({ first: reading, readings: [reading], views: 0 });

function placeOf({ last, frames }: Track): Place {
  const readings = frames.flat();
  return { first: last, readings: readings.length ? readings : [last], views: frames.length };
}

function best(readings: readonly Reading[]): Reading | undefined {
  return sortedBy(readings, (r) => r.confidence * Math.min(r.text.length, 3))[0];
}

/** Moves a reading of an earlier frame to the center of the newest one. */
function centered({ text, box, digitConfidence, angle, edges: from }: Reading, { edges: to }: Reading): Reading {
  const [dx, dy] = [(to[0] + to[2] - from[0] - from[2]) / 2, (to[1] + to[3] - from[1] - from[3]) / 2];
  return new Reading(text, box.map(([x, y, w, h]) => [x + dx, y + dy, w, h] as const), digitConfidence, angle);
}
