import { Lab } from "../../../components/hosts/lab";
import { loadCloud } from "../../../config";
import { Secrets } from "../../../secrets";

// The lab hosts of a stack, and nothing on them: machines that exist, for whoever has their addresses.
const cloud = loadCloud();
new Lab("lab", { cloud, secrets: new Secrets(cloud) });

export = {};
