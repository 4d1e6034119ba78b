// Runs the ONNX file of a dense detector with ONNX Runtime: seqdigits/inference/onnx_engine.py.

import * as ort from "onnxruntime-web/wasm";
import { UserError } from "./errors.ts";
import { onnxMetadata } from "./onnx_metadata.ts";
import type { Engine } from "./reader.ts";

const FORMAT = "dense_detector 1";

/** Creates the engine from the bytes of ONNX Runtime's WebAssembly and of a file that `seqdigits export --to onnx` wrote. */
export async function createEngine(runtime: Uint8Array, model: Uint8Array): Promise<Engine> {
  const metadata = onnxMetadata(model);
  if (!metadata) throw new UserError("The model file is damaged. Write it again: seqdigits export --to onnx");
  if (metadata.get("format") !== FORMAT) {
    throw new UserError("The model is no detector for digits that this page knows. Write it with: seqdigits export --to onnx");
  }
  ort.env.wasm.wasmBinary = runtime as unknown as ArrayBuffer;
  ort.env.wasm.numThreads = 1; // more threads would need special headers of the server
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] }).catch((error: unknown) => {
    throw new UserError(`${causeOf(String(error))}: ${String(error).slice(0, 200)}`);
  });
  return {
    channels: metadata.get("channels") === "1" ? 1 : 3,
    minScore: Number(metadata.get("min_score")),
    async run(images, shape) {
      const found = await session.run({ images: new ort.Tensor("uint8", images, shape) });
      return {
        boxes: found["boxes"]!.data as Float32Array,
        probabilities: found["probabilities"]!.data as Float32Array,
      };
    },
    release: () => session.release(),
  };
}

function causeOf(error: string): string {
  if (typeof WebAssembly !== "object") return "This browser has no WebAssembly";
  if (/SIMD/i.test(error)) return "This browser is too old for the page";
  if (/memory/i.test(error)) return "The browser has too little memory for the network";
  return "The model file is damaged";
}
