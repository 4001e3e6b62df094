const js = require("@eslint/js");
const tseslint = require("typescript-eslint");

// What Node gives every CommonJS file.
const nodeGlobals = Object.fromEntries(
  (
    "__dirname __filename Buffer clearInterval clearTimeout console exports module process require " +
    "setImmediate setInterval setTimeout URL"
  )
    .split(" ")
    .map((name) => [name, "readonly"]),
);
nodeGlobals.module = "writable";

module.exports = tseslint.config(
  { ignores: ["node_modules/", "sdks/", "**/snapshots/"] },
  js.configs.recommended,
  {
    files: ["**/*.js"],
    languageOptions: {
      sourceType: "commonjs",
      globals: nodeGlobals,
    },
  },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: __dirname } },
    rules: {
      // Arrays and records are indexed under noUncheckedIndexedAccess; `!` states what was checked.
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/non-nullable-type-assertion-style": "off",
      "@typescript-eslint/prefer-regexp-exec": "off",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // Pulumi resources are made for their effect on the graph.
      "no-new": "off",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "@typescript-eslint/consistent-type-imports": "error",
      eqeqeq: "error",
      "prefer-template": "error",
    },
  },
  {
    // Nobody but config.ts reads configuration, nobody but the process edge reads the environment.
    files: ["components/**/*.ts", "index.ts", "catalogue.ts", "secrets.ts"],
    rules: {
      "no-restricted-syntax": [
        "error",
        {
          selector: "NewExpression[callee.property.name='Config']",
          message: "Only config.ts reads configuration: take what you need from Cloud.",
        },
      ],
    },
  },
);
