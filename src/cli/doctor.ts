/** `faultline doctor`: what works here, and the command that mends what does not. */
import { spawnSync } from "node:child_process";
import type { Command } from "commander";
import { onnxRuntimeVersion } from "../../references/onnx/runner.ts";
import { adapterFacts, Gpu, requestAdapter } from "../engine/device.ts";
import { kernelProblems, kernelsFor } from "../engine/kernels.ts";
import { type DoctorFinding, doctorJson, doctorText } from "../report/doctor.ts";
import { addOutputOptions, type OutputOptions } from "./options.ts";
import { print } from "./output.ts";

const NEEDED_NODE = 20;

/** Programs that references need: name, arguments that print a version, what they are for, how to get them. */
const TOOLS: readonly [program: string, args: readonly string[], use: string, remedy: string][] = [
  ["c++", ["--version"], "builds the llama.cpp reference", "apt-get install g++"],
  ["git", ["--version"], "fetches the llama.cpp reference", "apt-get install git"],
  [
    "python3",
    [
      "-c",
      "import sys, venv, ensurepip; print('Python', sys.version.split()[0]); sys.exit(sys.version_info < (3, 11))",
    ],
    "3.11 or newer with venv runs the HuggingFace reference",
    "apt-get install python3 python3-venv",
  ],
];

export function addDoctor(program: Command): void {
  addOutputOptions(
    program.command("doctor").description("say what works on this machine, and how to mend what does not"),
  )
    .addHelpText("after", "\nExample:\n  faultline doctor")
    .action(async (options: OutputOptions) => {
      const findings = [checkNode(), ...(await checkGpu()), await checkOnnx(), ...TOOLS.map(checkTool)];
      print(
        options,
        () => doctorJson(findings),
        () => doctorText(findings),
      );
      if (findings.some((finding) => finding.state === "missing" && finding.needed)) process.exitCode = 2;
    });
}

function checkNode(): DoctorFinding {
  const ok = Number(process.versions.node.split(".")[0]) >= NEEDED_NODE;
  return {
    name: "Node.js",
    state: ok ? "works" : "missing",
    found: process.versions.node,
    needed: true,
    remedy: `install Node ${NEEDED_NODE} or newer`,
  };
}

async function checkGpu(): Promise<DoctorFinding[]> {
  const remedy = "npm run setup (Debian 12: mesa-vulkan-drivers from bookworm-backports), or --device oracle";
  let gpu: Gpu | undefined;
  try {
    const facts = adapterFacts(await requestAdapter("auto"));
    gpu = await Gpu.open("auto");
    const { maxStorageBufferBindingSize, maxBufferSize } = gpu.limits;
    const problems = await kernelProblems(gpu);
    return [
      {
        name: "WebGPU adapter",
        state: "works",
        found: `${facts.description}${facts.software ? " (software)" : ""}`,
        needed: true,
        remedy,
      },
      {
        name: "limits",
        state: "works",
        found: `binding ${Math.round(maxStorageBufferBindingSize / 2 ** 20)} MiB, buffer ${Math.round(maxBufferSize / 2 ** 20)} MiB`,
        needed: false,
        remedy: "",
      },
      {
        name: "kernels",
        state: problems.length === 0 ? "works" : "missing",
        found: problems[0] ?? `${kernelsFor(gpu).length} accepted`,
        needed: true,
        remedy: "report this with the adapter's name",
      },
    ];
  } catch (error) {
    return [{ name: "WebGPU adapter", state: "missing", found: (error as Error).message, needed: true, remedy }];
  } finally {
    gpu?.close();
  }
}

async function checkOnnx(): Promise<DoctorFinding> {
  const finding = { name: "ONNX Runtime", needed: false, remedy: "npm ci" };
  try {
    return { ...finding, state: "works", found: await onnxRuntimeVersion() };
  } catch (error) {
    return { ...finding, state: "missing", found: (error as Error).message };
  }
}

function checkTool([program, args, use, remedy]: (typeof TOOLS)[number]): DoctorFinding {
  const result = spawnSync(program, [...args], { encoding: "utf8" });
  const version = result.status === 0 ? (result.stdout.split("\n")[0] ?? "") : null;
  return { name: program, state: version === null ? "missing" : "works", found: version ?? use, needed: false, remedy };
}
