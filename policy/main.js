// Pulumi runs a policy pack by ts-node, which checks its types at every start. tsx takes its place: `npm run check` has
// checked them.
require("tsx/cjs");
require("./index.ts");
