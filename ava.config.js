// CommonJS, as the program itself runs: tsx compiles on load, so a test never sees stale output.
module.exports = {
  files: ["test/**/*.test.ts"],
  extensions: { ts: "commonjs" },
  nodeArguments: ["--require=tsx/cjs"],
  // AVA's 10 s idle limit reads as a failure on a loaded machine.
  timeout: "5m",
};
