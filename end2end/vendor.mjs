// Puts ECharts where the site takes it from: public/vendor, which git ignores. Its licence goes with it.
import { copyFileSync, mkdirSync } from "node:fs";

const from = new URL("node_modules/echarts/", import.meta.url);
const to = new URL("../public/vendor/", import.meta.url);

mkdirSync(to, { recursive: true });
copyFileSync(new URL("dist/echarts.min.js", from), new URL("echarts.min.js", to));
copyFileSync(new URL("LICENSE", from), new URL("echarts.LICENSE", to));
copyFileSync(new URL("NOTICE", from), new URL("echarts.NOTICE", to));
